"""How long texts are: in words, over the bins of the paper's Figure 1 (d), and in percentiles.

Of a published histogram only the counts are known. Lengths are whole numbers, so that a bin says
between which two of them a length lies, and the same bounds hold for percentiles and the mean.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llama_gpt4.rouge import HAN, HANGUL, KANA

N_BINS, LONGEST_WORDS = 99, 512
"""Of Figure 1 (d): equal bins of [0, 512], whose last one holds 512 itself."""
PERCENTILES = (10, 25, 50, 75, 90, 95, 99)

_CHARACTER = re.compile(f"[{HAN}{KANA}{HANGUL}]")
# Fullwidth forms and punctuation of CJK texts, quotation marks and dashes that they share with
# Latin ones.
_PUNCTUATION = re.compile(
    "[\\u3000-\\u303f\\uff01-\\uff0f\\uff1a-\\uff20\\uff3b-\\uff40\\uff5b-\\uff65—…·‘’“”]"
)


def whitespace_words(text: str) -> int:
    """What stands between blanks, as the paper counts: a Chinese sentence is one."""
    return len(text.split())


def words(text: str) -> int:
    """The same, in which each character of Chinese, Japanese and Korean is a word of its own and
    their punctuation is none."""
    if text.isascii():
        return whitespace_words(text)
    rest, characters = _CHARACTER.subn(" ", text)
    return characters + len((_PUNCTUATION.sub(" ", rest) if characters else rest).split())


LENGTH_UNITS: dict[str, Callable[[str], int]] = {
    "words": words,
    "whitespace": whitespace_words,
}
"""By the names that configurations and reports give them."""
LENGTH_UNITS_SAID = {
    "words": "words between blanks; each Chinese, Japanese or Korean character is a word",
    "whitespace": "words between blanks, in Chinese as in English",
}


@dataclass(frozen=True)
class Bounds:
    """The whole numbers between which a statistic of lengths lies."""

    low: float
    high: float


def binned(lengths: Sequence[int] | npt.NDArray[np.int64]) -> list[int]:
    """How many `lengths` each bin holds; those beyond `LONGEST_WORDS` are in none."""
    return np.histogram(lengths, N_BINS, (0, LONGEST_WORDS))[0].tolist()


def percentiles(lengths: Sequence[int]) -> dict[str, int]:
    """The length that `p` % of `lengths` do not exceed (nearest rank), for `PERCENTILES`."""
    found = np.percentile(lengths, PERCENTILES, method="inverted_cdf")
    return {f"p{p}": int(length) for p, length in zip(PERCENTILES, found, strict=True)}


def percentile_bounds(counts: Sequence[int]) -> dict[str, Bounds]:
    """The same of lengths of which only the counts of the bins are known."""
    ends = np.cumsum(counts)
    ranks = [max(1, -(-p * int(ends[-1]) // 100)) for p in PERCENTILES]
    bins = np.searchsorted(ends, ranks)
    return {f"p{p}": _bin(int(b)) for p, b in zip(PERCENTILES, bins, strict=True)}


def mean_bounds(counts: Sequence[int]) -> Bounds:
    """Between which two numbers the mean of binned lengths lies."""
    bins, total = [_bin(place) for place in range(N_BINS)], sum(counts)
    low = sum(n * bin.low for n, bin in zip(counts, bins, strict=True)) / total
    return Bounds(low, sum(n * bin.high for n, bin in zip(counts, bins, strict=True)) / total)


def longest_bounds(counts: Sequence[int]) -> Bounds:
    """Between which two numbers the longest of binned lengths lies."""
    return _bin(max(place for place, n in enumerate(counts) if n))


def _bin(place: int) -> Bounds:
    """The least and the greatest whole number of a bin. N_BINS is no divisor of LONGEST_WORDS times
    an inner place, so that no inner edge is a whole number."""
    low, high = -(-place * LONGEST_WORDS // N_BINS), (place + 1) * LONGEST_WORDS // N_BINS
    return Bounds(low, high)
