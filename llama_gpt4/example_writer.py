"""Records to tokens: the files of one part of the cache, and what became of its records."""

import math
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from llama_gpt4.data_config import FilesConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import Report
from llama_gpt4.inspection import Inspected
from llama_gpt4.npy_file import NpyFile
from llama_gpt4.packing import Ints
from llama_gpt4.text_faults import LANGUAGES

BIN_TOKENS = 16
"""Width of a bar in the histogram of lengths."""


class ExampleWriter:
    """Writes one part of the data to `folder`, a block at a time, and counts what is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._n_tokens = self._n_examples = self._n_learned = self._longest = 0
        self._n_by_length = np.zeros(0, np.int64)
        """Of all that was tokenised, used or not."""
        self._examples_in = np.zeros(len(LANGUAGES), np.int64)
        self._answers_in = np.zeros((len(LANGUAGES), 3), np.int64)
        """By language of the answers: their tokens without EOS, those that spell characters in
        bytes, and characters."""
        self._files = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as files:
            tokens, examples, targets = (
                files.enter_context(open(self._folder / name, "wb"))
                for name in ("tokens.bin", "examples.npy", "targets.npy")
            )
            self._tokens = tokens
            self._examples = files.enter_context(NpyFile(examples, 5))
            self._targets = files.enter_context(NpyFile(targets, 3))
            self._files = files.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.__exit__(kind, error, trace)

    @property
    def n_examples(self) -> int:
        return self._n_examples

    @property
    def n_by_length(self) -> Ints:
        """How many of what was tokenised, used or not, have 0, 1, 2 and so on tokens."""
        return self._n_by_length

    def add(self, inspected: Inspected, is_used: npt.NDArray[np.bool_]) -> None:
        """Write those records of a block that are used."""
        self._n_by_length = _added(self._n_by_length, np.bincount(inspected.lengths))
        lengths, n_exchanges = inspected.lengths[is_used], inspected.n_exchanges[is_used]
        inspected.ids[np.repeat(is_used, inspected.lengths)].tofile(self._tokens)
        offsets = self._n_tokens + np.cumsum(lengths) - lengths
        table = [offsets, lengths, inspected.prompt_tokens[is_used]]
        table += [np.full_like(lengths, inspected.source), inspected.places[is_used]]
        self._examples.add(np.stack(table, axis=1))
        is_of_used = np.repeat(is_used, inspected.n_exchanges)
        asked, answers = inspected.asked_tokens[is_of_used], inspected.answer_tokens[is_of_used]
        numbers = np.repeat(np.arange(len(lengths)), n_exchanges)
        starts = self._n_tokens + np.cumsum(asked + answers) - answers - offsets[numbers]
        self._targets.add(np.stack([self._n_examples + numbers, starts, answers], axis=1))
        self._count(inspected, is_used, is_of_used)
        self._n_tokens += int(lengths.sum())
        self._n_examples += len(lengths)
        self._n_learned += int(answers.sum())
        self._longest = max(self._longest, int(lengths.max(initial=0)))

    def _count(
        self,
        inspected: Inspected,
        is_used: npt.NDArray[np.bool_],
        is_of_used: npt.NDArray[np.bool_],
    ) -> None:
        """What the answers that are used cost; (K,) records and (E,) exchanges say which."""
        language = inspected.language
        self._examples_in += np.bincount(language[is_used], minlength=len(LANGUAGES))
        fallback, characters = inspected.fallback_tokens, inspected.characters
        costs = np.stack([inspected.answer_tokens - 1, fallback, characters], axis=1)
        languages = np.repeat(language, inspected.n_exchanges)[is_of_used]
        np.add.at(self._answers_in, languages, costs[is_of_used])

    def report(self, *, spells_bytes: bool) -> Report:
        """What is counted in tokens; a tokenizer that `spells_bytes` has a piece for each."""
        n_by_length = self._n_by_length
        n_bins = -(-len(n_by_length) // BIN_TOKENS)
        padded = np.pad(n_by_length, (0, n_bins * BIN_TOKENS - len(n_by_length)))
        return {
            "tokens": self._n_tokens,
            "target_tokens": self._n_learned,
            "longest": self._longest,
            "length_99_percent": row_that_keeps(0.99, n_by_length),
            "length_100_percent": row_that_keeps(1, n_by_length),
            "lengths": {
                "bin_tokens": BIN_TOKENS,
                "examples": padded.reshape(-1, BIN_TOKENS).sum(axis=1).tolist(),
            },
            "languages": {
                language: {
                    "examples": int(n_examples),
                    "answer_tokens": int(tokens),
                    "tokens_per_character": int(tokens) / int(characters),
                    "byte_fallback_share": int(fallback) / int(tokens) if spells_bytes else None,
                }
                for language, n_examples, (tokens, fallback, characters) in zip(
                    LANGUAGES, self._examples_in, self._answers_in, strict=True
                )
                if n_examples
            },
        }


def row_that_keeps(share: float, n_by_length: Ints) -> int:
    """The shortest row that holds at least `share` of examples, of which `n_by_length` have 0, 1, 2
    and so on tokens."""
    held = np.cumsum(n_by_length)
    return int(np.searchsorted(held, math.ceil(share * int(held[-1]))))


def advice(n_by_length: Ints) -> str:
    """What to do where examples of these lengths are too long."""
    most, all_of_them = (row_that_keeps(share, n_by_length) for share in (0.99, 1))
    return f"raise it to {most} to keep 99 %, {all_of_them} to keep all"


def require_some_fit(n_by_length: Ints, data: FilesConfig, part: str) -> None:
    """Refuse `part`, whose examples have these lengths, where none of them fits."""
    if not n_by_length[: data.row_tokens + 1].any():
        raise InputError(
            f"all {n_by_length.sum()} examples for {part} are longer than "
            f"data.row_tokens={data.row_tokens}: {advice(n_by_length)}"
        )


def _added(some: Ints, more: Ints) -> Ints:
    """Counts of which either may have more."""
    n = max(len(some), len(more))
    return np.pad(some, (0, n - len(some))) + np.pad(more, (0, n - len(more)))
