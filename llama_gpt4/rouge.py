"""ROUGE-1, ROUGE-2 and ROUGE-L of a pair of texts, on tokens of a named tokenizer.

With r tokens (or pairs of neighbours, for ROUGE-2) in the reference, p in the prediction and `hits`
in common,

    precision = hits / p,   recall = hits / r,   F = 2 precision recall / (precision + recall).

`hits` counts each n-gram as often as both texts have it (ROUGE-1, ROUGE-2), or is the length of
the longest common subsequence (ROUGE-L): Lin (2004), "ROUGE: A Package for Automatic Evaluation of
Summaries". With `latin` tokens these are the numbers of the package rouge-score; `mixed` ones count
Chinese as well, of which rouge-score sees nothing. Without tokens every score is 0.

A text is tokenised once and its tokens are compared, so that whoever scores many predictions
against one reference, or sorts pairs by length, pays for that once.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rapidfuzz.distance import LCSseq

Tokenizer = Callable[[str], list[str]]

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
HANGUL = "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"
"""Scripts that are compared by the character; parts of a class of regular expressions."""
# \w knows no combining marks, without which the words of Hindi or Thai fall to pieces.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u065f\u0900-\u0963\u0971-\u0e4e"
_LATIN_ONLY = "".join(chr(c) if chr(c).isalnum() else " " for c in range(128))
_MIXED_TOKEN = re.compile(f"[{HAN}{KANA}{HANGUL}]|(?:[^\\W_{HAN}{KANA}{HANGUL}]|[{_MARKS}])+")


@dataclass(frozen=True, slots=True)
class Score:
    """How well a prediction meets a reference, within [0, 1]."""

    precision: float
    recall: float
    f: float


NO_SCORE = Score(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Rouge:
    rouge1: Score
    rouge2: Score
    rouge_l: Score


def latin(text: str) -> list[str]:
    """Lower-case runs of a-z and 0-9: the tokens of rouge-score, which does not stem by default."""
    text = text.lower()
    if not text.isascii():
        text = text.encode("ascii", "replace").decode()
    return text.translate(_LATIN_ONLY).split()


def mixed(text: str) -> list[str]:
    """Single characters of Chinese, Japanese and Korean, and words of every other script.

    Forms of one character (full width, ligatures) are made equal first, by NFKC. Of ASCII text the
    tokens are those of `latin`; "café" is one, where `latin` has "caf".
    """
    if text.isascii():
        return latin(text)
    return _MIXED_TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


TOKENIZERS: dict[str, Tokenizer] = {"latin": latin, "mixed": mixed}
"""By the names that configurations and reports give them."""


def rouge(reference: str, prediction: str, tokenize: Tokenizer) -> Rouge:
    """All three scores of two texts."""
    return rouge_of_tokens(tokenize(reference), tokenize(prediction))


def rouge_of_tokens(reference: Sequence[str], prediction: Sequence[str]) -> Rouge:
    """All three scores of two tokenised texts."""
    return Rouge(
        rouge1=rouge_n(reference, prediction),
        rouge2=rouge_n(list(pairwise(reference)), list(pairwise(prediction))),
        rouge_l=rouge_l(reference, prediction),
    )


def rouge_n(reference: Sequence[Any], prediction: Sequence[Any]) -> Score:
    """Of n-grams: tokens for ROUGE-1, pairs of neighbours for ROUGE-2."""
    wanted = Counter(reference)
    hits = sum(min(n, wanted[ngram]) for ngram, n in Counter(prediction).items())
    return _score(hits, len(reference), len(prediction))


def rouge_l(reference: Sequence[str], prediction: Sequence[str]) -> Score:
    return _score(lcs_length(reference, prediction), len(reference), len(prediction))


def lcs_length(reference: Sequence[str], prediction: Sequence[str]) -> int:
    """Length of the longest common subsequence of tokens, 64 of them at a time by bit operations
    (Hyyrö, 2004, "Bit-Parallel LCS-length Computation Revisited")."""
    # One character a token: rapidfuzz would take tokens with equal hashes for equal.
    numbers: dict[str, int] = {}
    return LCSseq.similarity(spelled(reference, numbers), spelled(prediction, numbers))


def spelled(tokens: Iterable[str], numbers: dict[str, int]) -> str:
    """`tokens` as a text of one character each; `numbers` grows by those that are new."""
    return "".join([chr(numbers.setdefault(token, len(numbers))) for token in tokens])


def f_score(hits: int, n_reference: int, n_prediction: int) -> float:
    """F in floating point by the same operations as rouge-score, so that thresholds agree."""
    return _score(hits, n_reference, n_prediction).f


def _score(hits: int, n_reference: int, n_prediction: int) -> Score:
    if not hits:
        return NO_SCORE
    precision, recall = hits / n_prediction, hits / n_reference
    return Score(precision, recall, 2 * precision * recall / (precision + recall))
