"""The two scores in what a judge says, read as its prompt asked for them.

FastChat's own reader takes the first line for all prompts and so loses every question of
mathematics, whose scores come last as the prompt asks; judges
mostly write "Assistant 1: 8" there instead.
"""

import re
import unicodedata

LOWEST, HIGHEST = 1.0, 10.0
"""The scale that the prompts speak of. Published judgements have zeros; no number above the scale
can be a score."""

Scores = tuple[float, float]
"""Of the answer that was shown first, and of the other."""

_NUMBER = r"\d+(?:\.\d+)?"
_OF_TEN = r"(?:\s*/\s*10\b|\s+out\s+of\s+10\b)?"
_LABEL = r"(?:assistant|助手)\s*{}"
_LABELS = re.compile(_LABEL.format(r"[12]\b"), re.IGNORECASE)
_SCALE = re.compile(r"(?<=\d)(?:\s*/\s*|\s+out\s+of\s+)10\b", re.IGNORECASE)
_WORD = re.compile(r"[\w.+\-−]*\d[\w.+\-−]*")
_TUPLE = re.compile(rf"\(\s*({_NUMBER}){_OF_TEN}\s*,\s*({_NUMBER}){_OF_TEN}\s*,?\s*\)")
# "Assistant 1: 8", "**Assistant 1's score**: 8/10", but not the first step of a calculation.
_LABELLED = [
    re.compile(
        rf"{_LABEL.format(n)}\b[^\S\n]*(?:'s)?[^\S\n*]*(?:score|得分|评分)?\W{{0,3}}[:=][\s*]{{0,4}}"
        rf"({_NUMBER}){_OF_TEN}(?=\s*(?:$|\n|[,;.。|]|\*\*|\(\s*\D|[-–—]\s+[^\W\d]{{2}}))",
        re.IGNORECASE,
    )
    for n in (1, 2)
]


def read_scores(text: str, prompt: str) -> Scores | None:
    """The scores in `text`, the answer to the prompt of that name; None where there are none."""
    text = unicodedata.normalize("NFKC", text)  # brackets and digits of Chinese texts
    found = _last_pair(text) if prompt == "math" else _first_line(text) or _labelled(text)
    if found is None or max(found) > HIGHEST:
        return None
    return found


def is_out_of_range(scores: Scores) -> bool:
    return min(scores) < LOWEST or max(scores) > HIGHEST


def _first_line(text: str) -> Scores | None:
    """Two numbers and no third in the first line that is not empty."""
    line = text.strip().partition("\n")[0]
    words = _WORD.findall(_SCALE.sub("", _LABELS.sub("", line)))
    numbers = [word.rstrip(".") for word in words]
    if len(numbers) != 2 or not all(re.fullmatch(_NUMBER, number) for number in numbers):
        return None
    return float(numbers[0]), float(numbers[1])


def _last_pair(text: str) -> Scores | None:
    """The last tuple, or the last "Assistant 1: …, Assistant 2: …", whichever is said later: a
    tuple before that may be a point of the problem."""
    tuples = list(_TUPLE.finditer(text))
    labels = [list(pattern.finditer(text)) for pattern in _LABELLED]
    at_tuple = tuples[-1].start() if tuples else -1
    at_labels = min(found[-1].start() if found else -1 for found in labels)
    if at_labels > at_tuple:
        return _labelled(text)
    return (float(tuples[-1][1]), float(tuples[-1][2])) if tuples else None


def _labelled(text: str) -> Scores | None:
    last = [found[-1] for pattern in _LABELLED if (found := list(pattern.finditer(text)))]
    return (float(last[0][1]), float(last[1][1])) if len(last) == 2 else None
