"""What the teacher of the tests says: texts that follow from the question alone.

A test knows the one right answer to each question and can tell when two were exchanged.
"""

import json
import re
from functools import lru_cache
from hashlib import sha256
from typing import Any

from .teacher_tasks import tasks

TRAITS = (
    "It depends on the place and the time.",
    "Most people agree, and a few have good reasons not to.",
    "First collect what you need, then begin with the smallest part.",
    "A simple example makes it clear: two and two are four.",
    "The short version is yes; the long version fills a book.",
    "There are three points to remember, and the second matters most.",
    "Start early, measure often, and write down what you saw.",
    "In practice the difference is small.",
)
TRAITS_ZH = (
    "这取决于时间和地点。",
    "大多数人同意，也有人持不同意见。",
    "先准备好需要的东西，再从最小的部分开始。",
    "举一个简单的例子：二加二等于四。",
    "简单地说，答案是肯定的。",
    "有三点需要记住，其中第二点最重要。",
    "尽早开始，经常检查，并把结果写下来。",
    "在实践中差别很小。",
)
REFUSAL = "I'm sorry, but as an AI language model I cannot help with that request."
WORDS_ZH = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动"

_HAN = re.compile(r"[\u4e00-\u9fff]")
_LONG = re.compile(r"\[\[tokens:(\d+)\]\]")
_RATED = re.compile(r"### Response\s+(.*?)\s+### End of Response", re.DOTALL)
_PAIR = re.compile(r"\[The Start of Assistant (\w+)'s Answer\]\s+(.*?)\s+\[The End", re.DOTALL)
_TO_CHINESE = re.compile(r"translat\w+.*chinese|chinese.*translat|翻译成?.*中文|译成", re.I | re.S)
_KEPT = re.compile(r"```.*?```|`[^`]*`|\{[^{}\s]*\}|<[^<>\s]+>|https?://\S+|[A-Za-z]+", re.DOTALL)


@lru_cache(maxsize=65536)
def answer(question: str) -> str:
    """The one answer to `question`, the content of a user message."""
    texts = [text for _, text in _PAIR.findall(question)] or _RATED.findall(question)
    if texts:
        return _judgement(question, [hidden_score(text) for text in texts])
    if (listed := tasks(question)) is not None:
        return listed
    if _TO_CHINESE.search(question):
        return _translation(question)
    return _statement(question, is_chinese=_HAN.search(question) is not None)


def answer_in_the_wrong_language(question: str) -> str:
    return _statement(question, is_chinese=_HAN.search(question) is None)


def hidden_score(text: str) -> float:
    """What the judge thinks of `text`: 1 to 10 in half points."""
    return 1 + _digest(text)[0] % 19 / 2


def n_tokens(text: str) -> int:
    """Four Latin characters make a token, and so does every other character."""
    n_latin = len(text.encode("ascii", "ignore"))
    return len(text) - n_latin + -(-n_latin // 4)


def cut(text: str, tokens: int) -> str:
    """The longest beginning of `text` that has at most so many tokens."""
    low, high = 0, min(len(text), 4 * tokens)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if n_tokens(text[:middle]) <= tokens else (low, middle - 1)
    return text[:low]


def question_of(messages: list[dict[str, Any]]) -> tuple[str, str]:
    """The question of a conversation, and the part of its answer that is known already.

    An assistant's message that begins the answer, last or followed by a plea to go on, asks for
    the rest.
    """
    for i in range(len(messages) - 1, 0, -1):
        known = messages[i]["content"]
        if messages[i]["role"] == "assistant" and known:
            question = messages[i - 1]["content"]
            if answer(question).startswith(known):
                return question, known
    return next(m["content"] for m in reversed(messages) if m["role"] == "user"), ""


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _statement(question: str, is_chinese: bool) -> str:
    digest = _digest(question)
    traits = TRAITS_ZH if is_chinese else TRAITS
    text = f"答案{digest[:6].hex()}：" if is_chinese else f"Answer {digest[:6].hex()}: "
    text += ("" if is_chinese else " ").join(traits[byte % 8] for byte in digest[6:12])
    long = _LONG.search(question)
    while long and n_tokens(text) < int(long[1]):
        text += f" ({len(text)}) " + traits[len(text) % 8]
    return cut(text, int(long[1])).rstrip() if long else text


def _judgement(question: str, scores: list[float]) -> str:
    """In the format that `question` asks for: FastChat's rating or verdict, or a line of values."""
    if "[[rating]]" in question:
        return f"A careful look at the answer. Rating: [[{scores[0]:g}]]"
    if "[[A]]" in question:
        first = scores[0] - scores[-1]
        return f"Both were read. [[{'C' if first == 0 else 'A' if first > 0 else 'B'}]]"
    return " ".join(f"{score:g}" for score in scores) + "\nThat is what these answers are worth."


def _translation(question: str) -> str:
    """Chinese for the JSON object in `question`, or else for its last paragraph."""
    last = question.strip().rpartition("\n\n")[2]
    if last.startswith("{") and last.endswith("}"):
        chinese = {key: _in_chinese(value) for key, value in json.loads(last).items()}
        return json.dumps(chinese, ensure_ascii=False)
    return _in_chinese(last)


def _in_chinese(text: str) -> str:
    """Each English word becomes two signs; code, placeholders, links and numbers stay."""

    def sign(match: re.Match[str]) -> str:
        word = match[0]
        if not word.isalpha():
            return word
        first, second = _digest(word.lower())[:2]
        return WORDS_ZH[first % len(WORDS_ZH)] + WORDS_ZH[second % len(WORDS_ZH)]

    return re.sub(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", _KEPT.sub(sign, text))
