"""What the teacher of the tests says when it is asked for tasks: they follow from the prompt alone,
some are alike, and some are what filters are for."""

import re
from collections.abc import Iterator
from hashlib import sha256

VERBS = (
    "Explain", "Compare", "Describe", "Summarise", "Rewrite", "List", "Criticise", "Plan", "Name",
    "Predict", "Translate", "Justify", "Outline", "Classify", "Invent", "Defend",
)  # fmt: skip
SUBJECTS = (
    "the habits of owls", "a quarrel between neighbours", "the price of bread in winter",
    "three ways to cross a river", "an apology to a teacher", "the rules of a board game",
    "how glass is recycled", "a week without electricity", "the smell of rain on stone",
    "an image of the harbour", "reasons for learning to swim", "the oldest bridge of a town",
    "what ants do in autumn", "a letter that never arrived", "the work of a lighthouse keeper",
    "why bicycles stay upright",
)  # fmt: skip
ENDS = (
    "for a child", "in two sentences", "without adjectives", "as a dialogue", "from memory",
    "with one example", "for a newspaper", "in reverse order",
)  # fmt: skip
VERBS_ZH = (
    "解释",
    "比较",
    "描述",
    "概括",
    "改写",
    "列出",
    "评价",
    "规划",
    "说明",
    "预测",
    "介绍",
    "分析",
)
SUBJECTS_ZH = (
    "猫头鹰的习性", "邻居之间的争吵", "冬天面包的价格", "过河的三种办法", "写给老师的道歉信",
    "棋类游戏的规则", "玻璃怎样回收", "没有电的一个星期", "雨后石头的气味", "港口的图片",
    "学习游泳的理由", "小镇上最老的桥",
)  # fmt: skip
ENDS_ZH = (
    "，写给孩子看",
    "，只用两句话",
    "，用对话的形式",
    "，并举一个例子",
    "，供报纸刊登",
    "，先说结论",
)

_OPEN_TASKS = re.compile(r"^(\d+)\. (Instruction|指令):\Z", re.MULTILINE)
_OPEN_LIST = re.compile(r"^(\d+)\.\Z", re.MULTILINE)
_TOTAL = re.compile(r"(?:until it has|up to number|直到列表共有|写到第) ?(\d+)")


def tasks(question: str) -> str | None:
    """The rest of the list in `question`, or what its last task is about; None: it asks for none of
    these."""
    is_chinese = "任务" in question
    if opened := _OPEN_TASKS.search(question):
        return "\n".join(_whole(question, int(opened[1]), is_chinese))
    if opened := _OPEN_LIST.search(question):
        numbered = [
            f"{n}. {text}" for n, text in _instructions(question, int(opened[1]), is_chinese)
        ]
        return "\n".join(numbered)
    if question.startswith(("Is the task a classification", "这是一个分类任务吗")):
        is_one = _digest(question)[0] % 4 == 0
        return ("是" if is_one else "否") if is_chinese else ("Yes" if is_one else "No")
    if question.startswith(("Write examples for the last", "Write an example for each")):
        return _examples(question)
    return None


def _whole(question: str, first: int, is_chinese: bool) -> Iterator[str]:
    """Goes on at the open place; one task in nine has no output, and one needs no input."""
    instruction, input, output = ("指令", "输入", "输出") if is_chinese else (
        "Instruction", "Input", "Output"
    )  # fmt: skip
    for number, text in _instructions(question, first, is_chinese):
        drawn = _digest(text)[5] % 9
        if number > first:
            yield f"###\n{number}. {instruction}: {text}"
        else:
            yield f" {text}"
        yield f"{number}. {input}:\n{'<noinput>' if drawn == 1 else f'{number} + {drawn}'}"
        yield f"{number}. {output}:" + ("" if drawn == 0 else f"\n{number + drawn}")


def _instructions(question: str, first: int, is_chinese: bool) -> Iterator[tuple[int, str]]:
    total = _TOTAL.search(question)
    assert total is not None
    words = (VERBS_ZH, SUBJECTS_ZH, ENDS_ZH) if is_chinese else (VERBS, SUBJECTS, ENDS)
    for number in range(first, int(total[1]) + 1):
        drawn = _digest(f"{question} {number}")
        verb, subject, end = (
            choice[byte % len(choice)] for choice, byte in zip(words, drawn, strict=False)
        )
        yield number, f"{verb}{subject}{end}。" if is_chinese else f"{verb} {subject} {end}."


def _examples(question: str) -> str:
    if question.startswith("Write an example for each"):
        return "Output: yes\nInput: It is green.\n\nOutput: no\nInput: It is not."
    n = _digest(question)[1] % 4
    examples = [f"Example {i}\nInput: number {i}\nOutput: {i * i}" for i in range(1, n + 1)]
    return "\n\n".join(examples) or "Input: the same\nOutput: the same"


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
