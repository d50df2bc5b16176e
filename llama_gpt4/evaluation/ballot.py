"""What a voter sees, and in which order: decided by the seed, the voter and the question alone, so
that a restart, another machine or a question more moves nothing."""

import hashlib
from collections.abc import Iterable

CRITERIA = ("helpfulness", "honesty", "harmlessness")
"""Judged apart from each other, after Askell et al. 2021."""
TIE = "tie"
LEFT, RIGHT = "left", "right"
SIDES = (LEFT, TIE, RIGHT)
"""What a voter can choose, without knowing whom."""


def shuffled(seed: int, voter: str, question_ids: Iterable[str]) -> list[str]:
    """The questions in the order of `voter`."""
    return sorted(question_ids, key=lambda id: _digest(seed, "order", voter, id))


def is_swapped(seed: int, voter: str, question_id: str) -> bool:
    """Whether the first model's answer is shown to `voter` on the right."""
    return bool(_digest(seed, "side", voter, question_id)[0] & 1)


def _digest(seed: int, purpose: str, voter: str, question_id: str) -> bytes:
    return hashlib.sha256("\0".join((str(seed), purpose, voter, question_id)).encode()).digest()
