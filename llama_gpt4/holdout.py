"""Which records are held out for validation: drawn by their prompts, so that records with one
prompt stay on one side."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from llama_gpt4.errors import InputError
from llama_gpt4.records import Record

R = TypeVar("R")


@dataclass(frozen=True)
class Holdout:
    """A share of records, whose prompts had the lowest draws."""

    seed: int
    last: int
    """The highest draw that is held out."""

    @classmethod
    def of(cls, prompts: Iterable[str], share: float, seed: int) -> "Holdout":
        """About `share` of all records, whose `prompts` these are; at least one on each side."""
        draws = np.fromiter((_draw(seed, prompt) for prompt in prompts), np.uint64)
        if not len(draws):
            raise InputError("data.files hold no record that can be read")
        count = round(share * len(draws))
        if count == 0:
            raise InputError(
                f"data.validation.share={share} of {len(draws)} records holds out none: "
                f"raise it to {1 / len(draws):.2g}"
            )
        last = int(np.partition(draws, count - 1)[count - 1])
        if (draws <= last).all():
            raise InputError(
                f"data.validation.share={share} of {len(draws)} records leaves none to train on: "
                "lower it"
            )
        return cls(seed, last)

    def has(self, prompt: str) -> bool:
        """Whether what asks this is held out."""
        return _draw(self.seed, prompt) <= self.last


def split(
    records: list[R], share: float, seed: int, prompt_of: Callable[[R], str]
) -> tuple[list[R], list[R]]:
    """Train and held out, at least one of each."""
    holdout = Holdout.of(map(prompt_of, records), share, seed)
    is_held_out = [holdout.has(prompt_of(record)) for record in records]
    pairs = list(zip(records, is_held_out, strict=True))
    return [r for r, is_out in pairs if not is_out], [r for r, is_out in pairs if is_out]


def asked(record: Record) -> str:
    """What makes two records one prompt; of conversations that begin alike the beginning."""
    return f"{record.instruction}\0{record.input}"


def _draw(seed: int, prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{prompt}".encode()).digest()[:8])
