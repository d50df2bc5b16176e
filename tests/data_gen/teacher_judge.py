"""The judge of the tests: points of a hidden rule, and the weaknesses of real judges on demand.

The rule is `hidden_score`, whatever the length of an answer and the place where it stands. What
`TeacherSettings` add to that is for evaluations to find.
"""

import re
from collections.abc import Sequence
from hashlib import sha256

from .teacher_answers import hidden_score
from .teacher_faults import TeacherSettings

_ANSWER = re.compile(
    r"\[The Start of Assistant \d's Answer\]\n(.*?)\n\n\[The End of Assistant", re.DOTALL
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def verdict(question: str, settings: TeacherSettings, draw: int) -> str | None:
    """What is said of the two answers in `question`, the first time, the second …, where scores
    stand as its prompt asks for them; None: there are not two."""
    texts = _ANSWER.findall(question)
    if len(texts) != 2:
        return None
    first, second = (f"{points:g}" for points in judged(texts, settings, draw))
    if "Python tuple" not in question:
        return f"{first} {second}\nThat is what these answers are worth."
    solved = "First, the problem: from (2, -2) to (10, 4) it is 10.\n\nAssistant 1:\nx = 8\n\n"
    if _digest(question)[0] % 2:
        return f"{solved}Scores:\nAssistant 1: {first}\nAssistant 2: {second} (a step is missing)\n"
    return f"{solved}The scores are ({first}, {second}). The better one is plain to see."


def judged(texts: Sequence[str], settings: TeacherSettings, draw: int) -> list[float]:
    """Points of both texts, the one that is shown first at the front."""
    points = [hidden_score(text) for text in texts]
    points[0] += settings.judge_first_place
    for place, text in enumerate(texts):
        points[place] += settings.judge_length * len(text) / 100
        points[place] += settings.judge_noise * (_digest(f"{draw} {text}")[1] % 3 - 1)
    return [min(max(value, 1.0), 10.0) for value in points]


def answer_worth(score: float, n: int, length: int = 40) -> str:
    """The `n`th text of so many letters that has this hidden score."""
    tries = 0
    while True:
        drawn = sha256(f"{score} {n} {length} {tries}".encode()).hexdigest()
        words = " ".join(_LETTERS[int(sign, 16)] * 4 for sign in drawn)
        text = (words * (length // len(words) + 1))[: length - 1].rstrip() + "."
        if hidden_score(text) == score:
            return text
        tries += 1


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
