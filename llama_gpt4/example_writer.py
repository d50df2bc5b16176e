"""Records to tokens: the files of one part of the cache, and what became of its records."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from llama_gpt4.audit import LANGUAGES, Audit, Entry
from llama_gpt4.data_config import DataConfig, FilesConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import Report, dropped_words, files_of
from llama_gpt4.prompt import render_prompts
from llama_gpt4.records import Record

if TYPE_CHECKING:
    from llama_gpt4.tokenizer import Tokenizer
    from llama_gpt4.words import Encoded

log = logging.getLogger(__name__)

CHUNK_RECORDS = 1000
"""Tokenised at a time: bounds the memory, and paces the log."""
BIN_TOKENS = 16
"""Width of a bar in the histogram of lengths."""


class Named(Protocol):
    """A record, for messages."""

    @property
    def name(self) -> str: ...


@dataclass
class ExampleWriter:
    """Writes one part of the data to `folder`, and counts what became of its records."""

    data: DataConfig
    part: str
    tokenizer: "Tokenizer"
    folder: Path
    dtype: np.dtype[Any]
    n_tokens: int = 0
    lengths: list[int] = field(default_factory=list)
    """Of all that was tokenised, used or not."""
    table: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    """What is in examples.npy."""
    targets: list[tuple[int, int, int]] = field(default_factory=list)
    """What is in targets.npy."""
    answers: list[tuple[int, int]] = field(default_factory=list)
    """Of each answer: the number of its record's language, and its characters."""
    fallback_counts: list[npt.NDArray[np.int64]] = field(default_factory=list)
    """Of each answer: tokens that spell a character in bytes; chunk by chunk."""

    def write(self, records: Sequence[Record]) -> Report:
        """Write the examples that `records` make, and report on them."""
        audit = Audit(self.data, files_of(self.data, self.part), self.part)
        entries = audit.read(records)
        with open(self.folder / "tokens.bin", "wb") as tokens:
            for start in range(0, len(entries), CHUNK_RECORDS):
                self._add(entries[start : start + CHUNK_RECORDS], audit).tofile(tokens)
                n = len(self.lengths)
                log.info("%s: tokenised %d of %d records", self.part, n, len(entries))
        report = audit.report()
        if self.lengths:
            n_beyond = report["dropped"]["too_long"] + report["dropped"]["prompt_fills_row"]
            require_some_fit(n_beyond, self.lengths, self.data, self.part)
        if not self.table:
            files = ", ".join(files_of(self.data, self.part))
            raise InputError(
                f"{files}: no record for {self.part} is left of {len(records):,}: "
                f"{dropped_words(report['dropped'])}"
            )
        np.save(self.folder / "examples.npy", np.array(self.table, np.int64))
        np.save(self.folder / "targets.npy", np.array(self.targets, np.int64))
        return report | self._report()

    def _add(self, chunk: Sequence[Entry], audit: Audit) -> npt.NDArray[Any]:
        """The tokens of those of a chunk that are used, which enter the table."""
        offset, first = self.n_tokens, 0
        is_used: list[bool] = []
        spans: list[tuple[int, int]] = []
        encoded = _encode(chunk, self.tokenizer)
        asked, sizes = encoded.prompt_lengths.tolist(), encoded.lengths.tolist()
        for entry in chunk:
            exchanges = entry.record.exchanges
            turns = range(first, first + len(exchanges))
            length = sum(sizes[turns.start : turns.stop])
            self.lengths.append(length)
            takes = audit.takes(entry, asked[first], length)
            is_used += [takes] * len(exchanges)
            first = turns.stop
            if not takes:
                continue
            example, start = len(self.table), self.n_tokens
            self.table.append((start, length, asked[turns.start], *audit.place_of(entry.record)))
            for turn, exchange in zip(turns, exchanges, strict=True):
                place, n_answer = self.n_tokens + asked[turn], sizes[turn] - asked[turn]
                spans.append((place - offset, n_answer))
                self.targets.append((example, place - start, n_answer))
                self.answers.append((LANGUAGES.index(entry.language), len(exchange.output)))
                self.n_tokens += sizes[turn]
        ids = encoded.ids[np.repeat(is_used, encoded.lengths)].astype(self.dtype)
        self._count_fallback(ids, np.array(spans, np.int64).reshape(-1, 2))
        return ids

    def _count_fallback(self, ids: npt.NDArray[Any], spans: npt.NDArray[np.int64]) -> None:
        """Of a chunk of `ids`, in which the answers have their places and tokens in `spans`."""
        is_fallback = np.zeros(self.tokenizer.vocab_size, bool)
        is_fallback[self.tokenizer.fallback_ids] = True
        before = np.concatenate(([0], np.cumsum(is_fallback[ids])))
        self.fallback_counts.append(before[spans.sum(axis=1)] - before[spans[:, 0]])

    def _report(self) -> Report:
        """What is counted in tokens."""
        targets = np.array(self.targets, np.int64)
        histogram = np.bincount(np.array(self.lengths) // BIN_TOKENS)
        return {
            "tokens": self.n_tokens,
            "target_tokens": int(targets[:, 2].sum()),
            "longest": max(length for _, length, *_ in self.table),
            "length_99_percent": row_that_keeps(0.99, self.lengths),
            "length_100_percent": max(self.lengths),
            "lengths": {"bin_tokens": BIN_TOKENS, "examples": histogram.tolist()},
            "languages": self._languages(targets),
        }

    def _languages(self, targets: npt.NDArray[np.int64]) -> Report:
        """What an answer in each language costs; its EOS is not text."""
        language, characters = np.array(self.answers).T
        tokens = targets[:, 2] - 1
        fallback = np.concatenate(self.fallback_counts)
        found = {}
        for number, name in enumerate(LANGUAGES):
            its = language == number
            if not its.any():
                continue
            n_tokens = int(tokens[its].sum())
            found[name] = {
                "examples": len(np.unique(targets[its, 0])),
                "answer_tokens": n_tokens,
                "tokens_per_character": n_tokens / int(characters[its].sum()),
                "byte_fallback_share": (
                    int(fallback[its].sum()) / n_tokens if self.tokenizer.fallback_ids else None
                ),
            }
        return found


def _encode(entries: Sequence[Entry], tokenizer: "Tokenizer") -> "Encoded":
    """The exchanges of all of them; prompts and their answers are never joined as text."""
    from llama_gpt4.words import Encoded

    exchanges = [entry.record.exchanges for entry in entries]
    prompts = [text for its in exchanges for text in render_prompts(its)]
    encoded = tokenizer.encode_examples(prompts, [each.output for its in exchanges for each in its])
    ends = np.cumsum(encoded.lengths)
    starts = ends - encoded.lengths
    # Text that spells a special token must stay text: a second EOS would teach to stop early.
    for id, places in ((tokenizer.bos_id, starts), (tokenizer.eos_id, ends - 1)):
        assert np.array_equal(np.flatnonzero(encoded.ids == id), places), entries[0].record.name
    # There is one BOS, before all exchanges of a record.
    is_later = np.array([turn > 0 for its in exchanges for turn in range(len(its))])
    ids = np.delete(encoded.ids, starts[is_later])
    return Encoded(ids, encoded.prompt_lengths - is_later, encoded.lengths - is_later)


def row_that_keeps(share: float, lengths: Sequence[int]) -> int:
    """The shortest row that holds at least `share` of examples of these lengths."""
    return sorted(lengths)[math.ceil(share * len(lengths)) - 1]


def advice(lengths: Sequence[int]) -> str:
    """What to do where examples of these lengths are too long."""
    return f"raise it to {row_that_keeps(0.99, lengths)} to keep 99 %, {max(lengths)} to keep all"


def require_some_fit(n_beyond: int, lengths: Sequence[int], data: FilesConfig, part: str) -> None:
    """Refuse `part`, whose examples have `lengths`, where none of them fits."""
    if n_beyond == len(lengths):
        raise InputError(
            f"all {len(lengths)} examples for {part} are longer than "
            f"data.row_tokens={data.row_tokens}: {advice(lengths)}"
        )


def check_too_long(
    too_long: Sequence[Named], lengths: Sequence[int], data: FilesConfig, part: str
) -> None:
    """The same, and where `data.policy.too_long` asks for it."""
    require_some_fit(len(too_long), lengths, data, part)
    if too_long and data.policy.too_long == "error":
        raise InputError(
            f"{len(too_long)} of {len(lengths)} examples for {part} are longer than "
            f"data.row_tokens={data.row_tokens}, the first is {too_long[0].name}: "
            f"{advice(lengths)}, or drop them by data.policy.too_long=drop"
        )
