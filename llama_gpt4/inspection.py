"""What a block of records becomes, as far as that does not depend on other blocks: faults of its
texts, tokens, and digests that tell its records from others. Any process can do it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llama_gpt4.blocks import Block
from llama_gpt4.data_config import DataConfig
from llama_gpt4.first_places import Digests
from llama_gpt4.holdout import Holdout, asked
from llama_gpt4.packing import Ints
from llama_gpt4.prompt import render_prompts
from llama_gpt4.records import Fault, Record, records_of
from llama_gpt4.text_faults import LANGUAGES, TextFaults, answer_language
from llama_gpt4.validators import shown

if TYPE_CHECKING:
    from llama_gpt4.tokenizer import Tokenizer
    from llama_gpt4.words import Encoded


@dataclass(frozen=True)
class Task:
    """A block to inspect."""

    source: int
    """The number of its file."""
    claim: str | None
    """The language that the file is in; None: several."""
    block: Block


@dataclass(frozen=True, eq=False)
class Inspected:
    """A block of R records, of which K have no fault in their texts that drops them; these have E
    exchanges and N tokens."""

    source: int
    claim: str | None
    n_read: int
    broken: Sequence[Fault]
    """Values that are no records; they count as read."""
    languages: Counter[str]
    """Of the answers of all R."""
    faults: Sequence[tuple[int, str, str]]
    """Place of a record, a rule, and what to show of what it found."""
    n_dropped: Counter[str]
    """Records that a rule drops; each is counted under the first."""
    places: Ints
    """(K,) of the records in their file."""
    language: Ints
    """(K,) of the answer: a number of `LANGUAGES`."""
    shown: Sequence[str]
    """(K,) what messages show of the instruction."""
    prompts: Digests
    """(K,) of all texts before the last answer."""
    examples: Digests
    """(K,) of all texts."""
    n_exchanges: Ints
    """(K,)"""
    asked_tokens: Ints
    """(E,) BOS included."""
    answer_tokens: Ints
    """(E,) EOS included."""
    fallback_tokens: Ints
    """(E,) of the answer: those that spell a character in bytes."""
    characters: Ints
    """(E,) of the answer."""
    ids: npt.NDArray[Any]
    """(N,) unsigned."""

    @cached_property
    def lengths(self) -> Ints:
        """(K,) tokens of each record."""
        ends = np.concatenate(([0], np.cumsum(self.asked_tokens + self.answer_tokens)))
        return np.diff(ends[np.concatenate(([0], np.cumsum(self.n_exchanges)))])

    @property
    def prompt_tokens(self) -> Ints:
        """(K,) before the first that is learned, BOS included."""
        return self.asked_tokens[np.cumsum(self.n_exchanges) - self.n_exchanges]


@dataclass(frozen=True)
class Inspection:
    """What to inspect for; `ready` makes it work, in whatever process."""

    data: DataConfig
    part: str
    holdout: Holdout | None
    """What is not of this part, if that is for training; else what is."""
    tokenizer: Path
    """Its folder."""
    dtype: npt.DTypeLike

    def ready(self) -> "Inspector":
        from llama_gpt4.tokenizer import Tokenizer

        return Inspector(self, Tokenizer.load(self.tokenizer))

    def is_of_part(self, record: Record) -> bool:
        if self.holdout is None:
            return True
        return self.holdout.has(asked(record)) == (self.part == "validation")


class Inspector:
    """Inspects one block after the other."""

    def __init__(self, inspection: Inspection, tokenizer: "Tokenizer") -> None:
        self._inspection, self._tokenizer = inspection, tokenizer
        self._policy: dict[str, str] = asdict(inspection.data.policy)
        self._faults = TextFaults(inspection.data, inspection.part)
        self._is_fallback = np.zeros(tokenizer.vocab_size, bool)
        self._is_fallback[tokenizer.fallback_ids] = True

    def __call__(self, task: Task) -> Inspected:
        records, broken = records_of(task.block)
        records = [record for record in records if self._inspection.is_of_part(record)]
        # What is broken has no prompt to be drawn by.
        is_counted = self._inspection.part == "train" or self._inspection.holdout is None
        broken = broken if is_counted else []
        languages = [answer_language(record.answered) for record in records]
        faults: list[tuple[int, str, str]] = []
        n_dropped: Counter[str] = Counter()
        kept: list[tuple[Record, str]] = []
        for record, language in zip(records, languages, strict=True):
            dropped_by = None
            for rule, excerpt in self._faults.of(record, language, task.claim):
                faults.append((record.index, rule, excerpt))
                if dropped_by is None and self._policy[rule] != "keep":
                    dropped_by = rule
            if dropped_by is None:
                kept.append((record, language))
            else:
                n_dropped[dropped_by] += 1
        return Inspected(
            source=task.source,
            claim=task.claim,
            n_read=len(records) + len(broken),
            broken=broken,
            languages=Counter(languages),
            faults=faults,
            n_dropped=n_dropped,
            language=np.array([LANGUAGES.index(language) for _, language in kept], np.int64),
            **self._described([record for record, _ in kept]),
        )

    def _described(self, records: Sequence[Record]) -> dict[str, Any]:
        """What `Inspected` says of those that are kept."""
        encoded = encode(records, self._tokenizer)
        asked, answers = encoded.prompt_lengths, encoded.lengths - encoded.prompt_lengths
        ends = np.cumsum(encoded.lengths)
        before = np.concatenate(([0], np.cumsum(self._is_fallback[encoded.ids])))
        outputs = [exchange.output for record in records for exchange in record.exchanges]
        return {
            "places": np.array([record.index for record in records], np.int64),
            "shown": [shown(record.instruction) for record in records],
            "prompts": _digests(record.prompt for record in records),
            "examples": _digests(
                (record.prompt, record.exchanges[-1].output) for record in records
            ),
            "n_exchanges": np.array([len(record.exchanges) for record in records], np.int64),
            "asked_tokens": asked,
            "answer_tokens": answers,
            "fallback_tokens": before[ends] - before[ends - answers],
            "characters": np.array([len(output) for output in outputs], np.int64),
            "ids": encoded.ids.astype(self._inspection.dtype),
        }


def encode(records: Sequence[Record], tokenizer: "Tokenizer") -> "Encoded":
    """The exchanges of all `records`; prompts and their answers are never joined as text."""
    from llama_gpt4.words import Encoded

    exchanges = [record.exchanges for record in records]
    prompts = [text for its in exchanges for text in render_prompts(its)]
    encoded = tokenizer.encode_examples(prompts, [each.output for its in exchanges for each in its])
    ends = np.cumsum(encoded.lengths)
    starts = ends - encoded.lengths
    # Text that spells a special token must stay text: a second EOS would teach to stop early.
    for id, places in ((tokenizer.bos_id, starts), (tokenizer.eos_id, ends - 1)):
        assert np.array_equal(np.flatnonzero(encoded.ids == id), places), records[0].name
    # There is one BOS, before all exchanges of a record.
    is_later = np.array([turn > 0 for its in exchanges for turn in range(len(its))], bool)
    ids = np.delete(encoded.ids, starts[is_later])
    return Encoded(ids, encoded.prompt_lengths - is_later, encoded.lengths - is_later)


def _digests(texts: Iterable[Any]) -> Digests:
    """64 bits of each: among a million texts two are alike by chance once in 37 million times."""
    return np.fromiter((_digest(text) for text in texts), np.uint64)


def _digest(texts: Any) -> int:
    # `repr` says unmistakably where one text ends and the next begins.
    return int.from_bytes(hashlib.blake2b(repr(texts).encode(), digest_size=8).digest())
