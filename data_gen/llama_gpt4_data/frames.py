"""How an instruction is put to a teacher."""

from llama_gpt4.errors import require_one_of
from llama_gpt4.prompt import render_prompt

FRAMES = ("alpaca", "alpaca_zh", "plain")

WITH_INPUT_ZH = "以下是一条描述任务的指令，并附有提供背景信息的输入。请写出恰当完成该请求的回答。"
WITHOUT_INPUT_ZH = "以下是一条描述任务的指令。请写出恰当完成该请求的回答。"


def require_frame(frame: str) -> None:
    require_one_of("frame", frame, FRAMES)


def framed(frame: str, instruction: str, input: str) -> str:
    """`alpaca` is the paper's prompt, word for word; `alpaca_zh` says the same in Chinese; `plain`
    is the instruction, and the input below it."""
    if frame == "plain":
        return f"{instruction}\n\n{input}" if input else instruction
    if frame == "alpaca":
        return render_prompt(instruction, input)
    opening = WITH_INPUT_ZH if input else WITHOUT_INPUT_ZH
    middle = f"\n\n### 输入：\n{input}" if input else ""
    return f"{opening}\n\n### 指令：\n{instruction}{middle}\n\n### 回答："
