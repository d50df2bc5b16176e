"""The most similar of many texts by ROUGE-L, exactly, without comparing with each of them.

F = 2 LCS / (m + n) of texts of m and n tokens, so F >= t asks for LCS >= t (m + n) / 2, and at
least as many tokens in common. Put the tokens of every text in one order, the rare ones first: the
rarest of o common tokens is among the first m - o + 1 of the one text and among the first n - o + 1
of the other, since the o - 1 others come after it (Chaudhuri et al., 2006, "A Primitive Operator
for Similarity Joins"). Those first tokens are indexed, by length, since o depends on both lengths;
whoever is found by them is compared in full.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import ceil

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Indel, LCSseq

from llama_gpt4.errors import require, require_one_of
from llama_gpt4.rouge import TOKENIZERS, f_score

FIRST_SORT_TEXTS = 256
"""The order by rarity is made anew at this many texts, and each time they have doubled."""
SLACK = 1e-6
"""What rapidfuzz's floating point may be off by: what comes this near is decided by integers."""
UNKNOWN = chr(0x10FFFF)
"""Stands in a query for a token that no indexed text has."""


@dataclass(frozen=True, slots=True)
class Match:
    """An indexed text that resembles the one that was asked about."""

    number: int
    """0 for the text that was added first."""
    f: float
    """ROUGE-L F of the two texts."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Where a text stands among all that are indexed."""

    nearest: list[Match]
    """The most similar first."""
    average: float
    """Mean ROUGE-L F with every indexed text; 0 without any."""


class SimilarityIndex:
    """Texts, added one by one, that can be asked which of them resemble another one.

    Similar is who has ROUGE-L F > `threshold`. `exact` decides by integers, 20 LCS > 7 (m + n) for
    0.7; `rouge_score` as the package of that name does in floating point, to which about half of
    the pairs with F = 0.7 have 0.7000000000000001. A text without tokens resembles none. Holds up
    to 1,114,111 different tokens, one for each Unicode character.
    """

    def __init__(
        self, threshold: float, *, tokenizer: str = "mixed", decisions: str = "exact"
    ) -> None:
        require(0 < threshold < 1, f"a similarity threshold of {threshold} is not within (0, 1)")
        require_one_of("tokenizer", tokenizer, tuple(TOKENIZERS))
        require_one_of("decisions", decisions, ("exact", "rouge_score"))
        self._tokenize = TOKENIZERS[tokenizer]
        self._is_exact = decisions == "exact"
        self._threshold = threshold
        # 0.7 is what was written, not the nearest binary fraction.
        self._share = Fraction(str(threshold))
        # From here on a token is one character, and a text as long as it has tokens.
        self._characters: dict[str, str] = {}
        self._texts: list[str] = []
        self._places: dict[str, int] = {}  # of the tokens in the order by rarity
        self._found_by: dict[str, dict[int, list[int]]] = {}  # token -> length -> texts
        self._next_sort_texts = FIRST_SORT_TEXTS

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        self._add(self._learned(self._tokenize(text)))

    def similar(self, text: str) -> list[Match]:
        """All similar texts, the most similar first, of equals the one that was added first."""
        return self._similar(self._known(self._tokenize(text)))

    def admit(self, text: str) -> Match | None:
        """Add `text` unless a similar one is there; the most similar of those."""
        tokens = self._tokenize(text)
        matches = self._similar(self._known(tokens))
        if matches:
            return matches[0]
        self._add(self._learned(tokens))
        return None

    def neighbours(self, text: str, count: int) -> Neighbours:
        """The `count` texts nearest to `text`, similar or not, and the average of all.

        Compares with every text: some milliseconds for 52,000 of them.
        """
        query = self._known(self._tokenize(text))
        if not self._texts:
            return Neighbours([], 0.0)
        hits = process.cdist([query], self._texts, scorer=LCSseq.similarity, dtype=np.int32)[0]
        scores = _f_scores(hits, len(query), np.array([len(text) for text in self._texts]))
        order = np.argsort(-scores, kind="stable")[:count]
        nearest = [Match(int(number), float(scores[number])) for number in order]
        return Neighbours(nearest, float(scores.mean()))

    def _similar(self, query: str) -> list[Match]:
        candidates = list(self._candidates(query))
        if not candidates:
            return []
        near = process.extract(
            query,
            [self._texts[number] for number in candidates],
            scorer=Indel.normalized_similarity,
            score_cutoff=self._threshold - SLACK,
            limit=None,
        )
        found = []
        for text, _, place in near:
            hits, total = LCSseq.similarity(query, text), len(query) + len(text)
            if self._is_above(hits, len(query), len(text)):
                # Equal fractions give equal quotients; the F of rouge-score may differ a little.
                f = f_score(hits, len(query), len(text))
                found.append((-hits / total, candidates[place], f))
        return [Match(number, f) for _, number, f in sorted(found)]

    def _is_above(self, hits: int, m: int, n: int) -> bool:
        if self._is_exact:
            return 2 * hits * self._share.denominator > self._share.numerator * (m + n)
        return f_score(hits, m, n) > self._threshold

    def _candidates(self, query: str) -> set[int]:
        """Texts with enough in common with `query` to reach the threshold, and some others."""
        m = len(query)
        top, bottom = self._share.numerator, self._share.denominator
        # A token that no text has is the rarest of all and comes first.
        known = sorted(query.replace(UNKNOWN, ""), key=self._places.__getitem__)
        shortest, longest = self._lengths(m)
        found: set[int] = set()
        for place, token in enumerate(known, m - len(known)):
            # With no rarer one in common there are at most m - place, and top (m + n) / (2 bottom)
            # are wanted.
            longest_here = min(longest, 2 * bottom * (m - place) // top - m)
            if longest_here < shortest:
                break
            by_length = self._found_by.get(token, {})
            if len(by_length) <= longest_here - shortest:
                for n, numbers in by_length.items():
                    if shortest <= n <= longest_here:
                        found.update(numbers)
            else:
                for n in range(shortest, longest_here + 1):
                    found.update(by_length.get(n, ()))
        return found

    def _lengths(self, m: int) -> tuple[int, int]:
        """The shortest and the longest that a text similar to one of `m` tokens can be: at best all
        of the shorter one is in the longer one."""
        return ceil(m * self._share / (2 - self._share)), int(m * (2 - self._share) / self._share)

    def _add(self, text: str) -> None:
        self._texts.append(text)
        self._index(len(self._texts) - 1)
        if len(self._texts) == self._next_sort_texts:
            self._next_sort_texts *= 2
            self._sort()

    def _index(self, number: int) -> None:
        text = self._texts[number]
        n = len(text)
        least_common = ceil((n + self._lengths(n)[0]) * self._share / 2)
        tokens = sorted(text, key=self._places.__getitem__)
        for token in set(tokens[: n - least_common + 1]):
            self._found_by.setdefault(token, {}).setdefault(n, []).append(number)

    def _sort(self) -> None:
        """Order the tokens by how often they are there, and index all texts anew."""
        counts = Counter(chain.from_iterable(self._texts))
        order = sorted(self._places, key=counts.__getitem__)
        self._places = {token: place for place, token in enumerate(order, 1)}
        self._found_by.clear()
        for number in range(len(self._texts)):
            self._index(number)

    def _known(self, tokens: Sequence[str]) -> str:
        """`tokens` as characters, those that no text has as `UNKNOWN`."""
        return "".join([self._characters.get(token, UNKNOWN) for token in tokens])

    def _learned(self, tokens: Sequence[str]) -> str:
        """`tokens` as characters, new ones where they are needed."""
        for token in tokens:
            if token not in self._characters:
                number = len(self._characters)
                require(number < ord(UNKNOWN), "more different tokens than Unicode has characters")
                self._characters[token] = chr(number)
                self._places[chr(number)] = -number  # before all others, whose order stays
        return self._known(tokens)


def _f_scores(hits: np.ndarray, m: int, lengths: np.ndarray) -> np.ndarray:
    """`f_score` of one text of `m` tokens with many."""
    some = hits > 0
    precision, recall = hits[some] / lengths[some], hits[some] / m
    scores = np.zeros(len(hits))
    scores[some] = 2 * precision * recall / (precision + recall)
    return scores
