"""Alpaca's filters of new instructions, by the name of the rule that drops one.

They are cheap and broad on purpose: a text-only model has no use for tasks about images, files or
sounds, and a teacher makes more instructions than are kept. In order: length in words; a keyword as
a whole word; `Write a program`, of which Alpaca got too many; a first character that is punctuation
or not ASCII. Of Chinese instructions, length is in `mixed` tokens, words are found without
boundaries, which Chinese does not have, and instead of the last rule the instruction has to be in
Chinese. Similarity to earlier instructions is `llama_gpt4.similarity`'s.
"""

import re
import string
import unicodedata
from dataclasses import dataclass

from llama_gpt4.errors import require, require_one_of
from llama_gpt4.language import language_of
from llama_gpt4.rouge import mixed

SELF_INSTRUCT = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps",
    "draw", "plot", "go to",
)  # fmt: skip
ALPACA = (*SELF_INSTRUCT, "video", "audio", "music", "flowchart", "diagram")
SELF_INSTRUCT_ZH = (
    "图片", "图像", "图画", "照片", "相片", "插图", "漫画", "海报", "图表", "图形", "折线图",
    "柱状图", "条形图", "饼图", "散点图", "文件", "附件", "地图", "画一", "画出", "绘制", "绘画",
    "这幅", "这张图", "前往", "打开链接",
)  # fmt: skip
ALPACA_ZH = (*SELF_INSTRUCT_ZH, "视频", "音频", "录音", "音乐", "流程图", "示意图", "思维导图")

RULES = (
    "too_short", "too_long", "keyword", "write_a_program", "starts_with_punctuation",
    "starts_beyond_ascii", "not_chinese",
)  # fmt: skip
"""All that `dropped_by` may say, in the order in which the rules are asked."""

_KEYWORDS = {
    ("en", "alpaca"): ALPACA,
    ("en", "self_instruct"): SELF_INSTRUCT,
    ("zh", "alpaca"): ALPACA_ZH,
    ("zh", "self_instruct"): SELF_INSTRUCT_ZH,
}
_PATTERNS = {
    (language, name): re.compile(
        rf"\b(?:{'|'.join(words)})\b" if language == "en" else "|".join(words), re.IGNORECASE
    )
    for (language, name), words in _KEYWORDS.items()
}
_WRITE_A_PROGRAM = {
    "en": re.compile("Write a program"),
    "zh": re.compile(
        "请?(?:帮我)?(?:编写|写|创建)(?:出|一个|一段|个|段)?(?:简单的|计算机|电脑)*程序"
    ),
}


@dataclass(kw_only=True)
class InstructionFilterConfig:
    """Which instructions are kept."""

    language: str
    """`en` or `zh`: what the instructions are written in."""
    keywords: str
    """`alpaca`, or `self_instruct`: the same without video, audio, music, flowchart, diagram."""
    min_length: int
    """Shortest instruction, in words of English or `mixed` tokens of Chinese; Alpaca's is 4."""
    max_length: int
    """Longest instruction, counted in the same way; Alpaca's is 150."""

    def __post_init__(self) -> None:
        require_one_of("language", self.language, ("en", "zh"))
        require_one_of("keywords", self.keywords, ("alpaca", "self_instruct"))
        require(
            0 < self.min_length <= self.max_length,
            f"min_length={self.min_length} is not within 1 and max_length={self.max_length}",
        )


def dropped_by(instruction: str, config: InstructionFilterConfig) -> str | None:
    """The first of `RULES` that drops `instruction`; None where all keep it."""
    is_chinese = config.language == "zh"
    length = len(mixed(instruction) if is_chinese else instruction.split())
    if length < config.min_length:
        return "too_short"
    if length > config.max_length:
        return "too_long"
    if _PATTERNS[config.language, config.keywords].search(instruction):
        return "keyword"
    if _WRITE_A_PROGRAM[config.language].match(instruction):
        return "write_a_program"
    if is_chinese:
        return _dropped_as_chinese(instruction)
    if instruction[0] in string.punctuation:
        return "starts_with_punctuation"
    return None if instruction[0].isascii() else "starts_beyond_ascii"


def _dropped_as_chinese(instruction: str) -> str | None:
    # “ and 《 open a sentence as well as a word does; ， and 。 are what a cut left over.
    first = unicodedata.category(instruction[0])
    if first.startswith("P") and first not in ("Ps", "Pi"):
        return "starts_with_punctuation"
    return None if language_of(instruction) == "zh" else "not_chinese"
