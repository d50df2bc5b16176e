"""Lists of tasks: how a teacher is asked to go on with one, and how tasks are read from its reply.

Two kinds: of whole tasks with input and output, in Alpaca's notation, and of bare instructions, as
Self-Instruct had them. The requirements say what Alpaca's say, in words of our own; Alpaca's list
was numbered 1, 2, 3, 2, 3, 4, … by mistake.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from llama_gpt4.fields import without_placeholder

NO_INPUT = "<noinput>"
NAMES = {"en": ("Instruction", "Input", "Output"), "zh": ("指令", "输入", "输出")}

TASKS = {
    "en": """\
Write tasks for an assistant that reads and writes text. The list at the end begins with some; \
continue it until it has {total} tasks.

- Let the tasks differ from each other and from those in the list: in verbs, in wording, in subject.
- Ask questions as well as giving orders.
- Mix kinds of tasks: open questions, writing, rewriting, summarising, extracting, classifying, \
comparing, planning, reasoning, calculating, code.
- The assistant can do nothing but read and write text. Ask for nothing to be seen, heard, drawn, \
looked up, bought or remembered for later.
- Write in English. An instruction has one or two sentences.
- An input gives the one thing that the instruction is about: something concrete and realistic, no \
placeholder, of up to 100 words. Where the instruction says it all, as a question about the world \
does, the input is {no_input}.
- An output is what a careful assistant would answer, in less than 100 words.
- Keep the notation of the list: a line ###, then the numbered instruction, input and output.
""",
    "zh": """\
请为一个只能阅读和书写文字的助手编写任务。末尾的列表已经有了几个任务，请接着写，\
直到列表共有 {total} 个任务。

- 任务之间要各不相同，也要与列表中已有的不同：动词、说法、主题都要有变化。
- 既要有问句，也要有祈使句。
- 任务类型要多样：问答、写作、改写、概括、信息提取、分类、比较、规划、推理、计算、代码等。
- 助手只会读写文字，不要让它看、听、画、上网查询、购买，也不要让它以后再提醒什么。
- 用中文书写，每条指令一两句话。
- 输入给出指令所针对的具体内容，要真实、具体，不用占位符，不超过 200 字。\
如果指令本身已经完整，例如常识性问题，输入写 {no_input}。
- 输出是一个认真的助手会给出的回答，不超过 200 字。
- 保持列表的格式：先是一行 ###，然后是带编号的指令、输入和输出。
""",
}
INSTRUCTIONS = {
    "en": """\
Write tasks for an assistant that reads and writes text. The list below begins with {given}; \
continue it up to number {total}, one task a line, and write nothing else. Let the new ones differ \
from each other and from those in the list in subject, wording and kind. Write in English, and ask \
for nothing to be seen, heard or drawn.
""",
    "zh": """\
请为一个只能阅读和书写文字的助手编写任务。下面的列表已有 {given} 个任务，请接着写到第 {total} 个，\
每行一个，不要写别的内容。新任务之间以及与列表中的任务在主题、说法和类型上都要不同。用中文书写，不要涉及看、听或画。
""",
}

_START = re.compile(
    r"^[ \t]*(?:#+[ \t]*)?\**(\d+)[.)、．][ \t]*\**(?:Instruction|指令)\**[ \t]*[:：]\**",
    re.MULTILINE,
)
_LABEL = r"^[ \t]*(?:#+[ \t]*)?\**{number}\**(?:{name})\**[ \t]*[:：]\**"
_ITEM = re.compile(r"^[ \t]*\**(\d+)[ \t]?[.)、．]\**[ \t]*", re.MULTILINE)
_BORDER = re.compile(r"\s*^[ \t]*(?:#+|-{3,})\s*\Z", re.MULTILINE)


@dataclass(frozen=True)
class Task:
    """An instruction with its input, and maybe an output."""

    instruction: str
    input: str
    output: str


@dataclass(kw_only=True)
class Read:
    """What a reply has in it."""

    tasks: list[Task] = field(default_factory=list)
    n_unreadable: int = 0
    """Pieces that are no whole task; a reply without any is one of them."""
    n_cut: int = 0
    """1 where the last piece was left out, as the reply was cut within it."""


def tasks_prompt(demonstrations: Sequence[Task], total: int, language: str) -> str:
    """A list of whole tasks with an open place at its end."""
    instruction, input, output = NAMES[language]
    listed = [
        f"###\n{n}. {instruction}: {_one_line(task.instruction)}\n"
        f"{n}. {input}:\n{task.input or NO_INPUT}\n"
        f"{n}. {output}:\n{task.output}"
        for n, task in enumerate(demonstrations, 1)
    ]
    requirements = TASKS[language].format(total=total, no_input=NO_INPUT)
    opened = f"###\n{len(demonstrations) + 1}. {instruction}:"
    return "\n".join([requirements, *listed, opened])


def instructions_prompt(demonstrations: Sequence[Task], total: int, language: str) -> str:
    """A list of instructions with an open place at its end."""
    given = len(demonstrations)
    requirements = INSTRUCTIONS[language].format(given=given, total=total)
    listed = [f"{n}. {_one_line(task.instruction)}" for n, task in enumerate(demonstrations, 1)]
    return "\n".join([requirements, *listed, f"{given + 1}."])


def read_tasks(reply: str, first: int, language: str, *, is_cut: bool) -> Read:
    """The whole tasks of a reply that goes on with number `first`, at its label or after it."""
    found = _START.search(reply)
    before = reply[: found.start()] if found else reply
    if _labels(before, str(first), "Input|输入"):
        reply = f"{first}. {NAMES[language][0]}: {reply}"
    pieces = after_marks(_START, reply)
    read = Read(n_cut=int(is_cut and bool(pieces)))
    for mark, piece in pieces[:-1] if is_cut else pieces:
        task = _task(mark[1], piece)
        if task is None:
            read.n_unreadable += 1
        else:
            read.tasks.append(task)
    read.n_unreadable += not pieces
    return read


def read_instructions(reply: str, first: int, *, is_cut: bool) -> Read:
    """The instructions of a numbered list that goes on with number `first`."""
    if not _ITEM.match(reply.lstrip()):
        reply = f"{first}. {reply}"
    found = [_one_line(piece) for _, piece in after_marks(_ITEM, reply)]
    whole = found[:-1] if is_cut else found
    read = Read(tasks=[Task(text, "", "") for text in whole if text], n_cut=int(is_cut))
    read.n_unreadable = len(whole) - len(read.tasks)
    return read


def after_marks(pattern: re.Pattern[str], text: str) -> list[tuple[re.Match[str], str]]:
    """Each place where `pattern` is, with what follows it up to the next."""
    marks = list(pattern.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return [(mark, text[mark.end() : end]) for mark, end in zip(marks, ends, strict=False)]


def _one_line(text: str) -> str:
    """Without line breaks, and without the colon that announces an input."""
    return re.sub(r"\s+", " ", text).strip().rstrip(":：")


def _labels(piece: str, number: str, name: str) -> list[re.Match[str]]:
    """The places of a label with its number, or of one without where none has it."""
    numbered, bare = (
        re.compile(_LABEL.format(number=prefix, name=name), re.MULTILINE)
        for prefix in (rf"{number}[.)、．][ \t]*", "")
    )
    return list(numbered.finditer(piece)) or list(bare.finditer(piece))


def _task(number: str, piece: str) -> Task | None:
    """The task in `piece`, if each of its parts is there once and in order."""
    inputs = _labels(piece, number, "Input|输入")
    outputs = _labels(piece, number, "Output|输出")
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].end() > outputs[0].start():
        return None
    instruction = piece[: inputs[0].start()].strip()
    input = piece[inputs[0].end() : outputs[0].start()].strip()
    output = _BORDER.sub("", piece[outputs[0].end() :]).strip()
    return Task(instruction, without_placeholder(input), output) if instruction else None
