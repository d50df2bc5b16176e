"""Texts to token ids word by word, each word being encoded once.

In a vocabulary of LLaMA's kind no piece of several characters has a space behind another character,
and most characters, such as a newline or a Chinese one, are in no such piece at all. No merge
reaches over such a border, so the ids of a text are those of the words between them, end to end.
"""

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as Backend

Json = dict[str, Any]
Ints = npt.NDArray[np.int64]
MARK = "\u2581"  # how SentencePiece writes a space inside a piece
BYTE_PIECES = [f"<0x{byte:02X}>" for byte in range(256)]
PREPEND: Json = {"type": "Prepend", "prepend": MARK}
REPLACE: Json = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
BOS, EOS = 0, 1
"""Numbers of what begins a prompt and ends an answer; no text spells them."""
SEPARATOR = "\n"
WORDS_A_TEXT = 64
"""The backend takes less than half of the time for words that are lines of a text."""
MAX_WORDS, MAX_IDS = 500_000, 2**23
"""So many are remembered, some hundred bytes each, and so many of their ids: a gene is one word."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Examples as tokens: each is BOS, its prompt, its answer and EOS."""

    ids: npt.NDArray[np.int32]
    """Of all examples, end to end."""
    prompt_lengths: Ints
    """(n,) tokens that are not learned, BOS included."""
    lengths: Ints
    """(n,) tokens of each, BOS and EOS included."""


def joined(prompts: Iterable[list[int]], answers: Iterable[list[int]]) -> Encoded:
    """Examples whose ids are there already."""
    parts = [part for pair in zip(prompts, answers, strict=True) for part in pair]
    sizes = np.array([len(part) for part in parts], np.int64)
    ids = np.fromiter(chain.from_iterable(parts), np.int32, sizes.sum())
    return Encoded(ids, sizes[::2], sizes[::2] + sizes[1::2])


class _Numbers(dict[str, int]):
    """Words in the order in which they are met; the `new` ones have no ids yet."""

    def __init__(self) -> None:
        super().__init__({MARK: EOS + 1, SEPARATOR: EOS + 2})
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        number = self[word] = EOS + 1 + len(self)
        self.new.append(word)
        return number


class WordEncoder:
    """Encodes examples as the backend would, and remembers the ids of their words."""

    def __init__(
        self, words: re.Pattern[str], lead: str, fixed: list[list[int]], continuation: Backend
    ) -> None:
        """`lead` is what the backend puts before a text that continues no other, `fixed` are the
        ids of BOS, EOS, the mark and the separator."""
        self._find, self._lead, self._continuation = words.findall, lead, continuation
        self._fixed = fixed
        self._forget()

    @classmethod
    def of(cls, spec: Json, continuation: Backend, ends: tuple[int, int]) -> "WordEncoder | None":
        """For the tokenizer `spec`; None: its texts have no such words. `continuation` is the same
        for what continues another text, and `ends` are the ids of BOS and EOS."""
        words, vocab = _words_of(spec), spec["model"]["vocab"]
        if words is None:
            return None
        lead = " " if PREPEND in spec["normalizer"]["normalizers"] else ""
        # The mark itself is spelled in bytes: its piece means a space.
        mark = [vocab[BYTE_PIECES[byte]] for byte in MARK.encode()]
        separator = continuation.encode(SEPARATOR, add_special_tokens=False).ids
        return cls(words, lead, [[ends[0]], [ends[1]], mark, separator], continuation)

    def encode(self, prompts: Sequence[str], answers: Sequence[str]) -> Encoded:
        """The ids of `Tokenizer.encode_prompts` and `encode_answers`, example by example."""
        if len(self._numbers) > MAX_WORDS or len(self._ids) > MAX_IDS:
            self._forget()
        find, number, lead = self._find, self._numbers.__getitem__, self._lead
        words, starts = array("i"), array("q")
        for prompt, answer in zip(prompts, answers, strict=True):
            asked = lead + prompt.replace(MARK, " ") if prompt else ""
            # Of the template, and as good as one word: it ends at a border. It may be empty.
            first_line = asked[: asked.find(SEPARATOR)] if SEPARATOR in asked else ""
            starts.append(len(words))
            words.extend((BOS, number(first_line)))
            words.extend(map(number, find(asked[len(first_line) :])))
            starts.append(len(words))
            words.extend(map(number, find(answer)))
            words.append(EOS)
        self._learn()
        places = np.frombuffer(words, np.int32)
        counts = self._counts[places]
        sizes = np.add.reduceat(counts, np.frombuffer(starts, np.int64))
        ends = np.cumsum(counts)
        first = np.repeat(self._starts[places] - (ends - counts), counts)
        ids = self._ids[first + np.arange(len(first))]
        return Encoded(ids, sizes[::2], sizes[::2] + sizes[1::2])

    def _forget(self) -> None:
        """Know no word of a text."""
        self._numbers = _Numbers()
        self._ids, self._counts = _flat(self._fixed)
        self._starts = np.cumsum(self._counts) - self._counts

    def _learn(self) -> None:
        """Encode the words that are new."""
        new, self._numbers.new = self._numbers.new, []
        texts = [
            SEPARATOR.join([*new[first : first + WORDS_A_TEXT], ""])
            for first in range(0, len(new), WORDS_A_TEXT)
        ]
        encoded = self._continuation.encode_batch_fast(texts, add_special_tokens=False)
        ids = np.fromiter(chain.from_iterable(each.ids for each in encoded), np.int32)
        is_end = ids == self._fixed[-1][0]
        counts = np.diff(np.flatnonzero(is_end), prepend=-1) - 1
        assert len(counts) == len(new)
        self._ids = np.concatenate([self._ids, ids[~is_end]])
        self._counts = np.concatenate([self._counts, counts])
        self._starts = np.cumsum(self._counts) - self._counts


def _flat(parts: Sequence[list[int]]) -> tuple[npt.NDArray[np.int32], Ints]:
    """All `parts` end to end, and their sizes."""
    sizes = np.array([len(part) for part in parts], np.int64)
    return np.fromiter(chain.from_iterable(parts), np.int32, sizes.sum()), sizes


def _words_of(spec: Json) -> re.Pattern[str] | None:
    """What a word is for the tokenizer `spec`; None if a token may lie across any border."""
    model, normalizer = spec["model"], spec["normalizer"] or {}
    bytes_ = set(BYTE_PIECES)
    merges = [tuple(merge) for merge in model["merges"]]
    is_of_the_kind = (
        model["type"] == "BPE"
        and model["byte_fallback"]
        and model["vocab"].keys() >= bytes_
        and not any(model[key] for key in ("dropout", "continuing_subword_prefix"))
        and not any(model[key] for key in ("end_of_word_suffix", "ignore_merges"))
        and normalizer.get("normalizers") in ([PREPEND, REPLACE], [REPLACE])
        and not spec["pre_tokenizer"]
        and not spec["added_tokens"]
        and merges
        and bytes_.isdisjoint(chain.from_iterable(merges))
    )
    pieces = {left + right for left, right in merges} if is_of_the_kind else set()
    if not pieces or any(MARK in piece.lstrip(MARK) for piece in pieces):
        return None
    characters = set().union(*pieces) - {MARK}
    if not characters or SEPARATOR in characters:
        return None
    within = re.escape("".join(sorted(characters)))
    return re.compile(f" *[{within}]+| +|[^{within} ]")
