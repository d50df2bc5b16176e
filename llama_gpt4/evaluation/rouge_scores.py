"""ROUGE F of tens of thousands of pairs in a second, and means by the length of the reference.

The numbers are those of `llama_gpt4.rouge`, bit for bit. The tokens of a reference are few, so a
token becomes one character, one that the reference lacks always the same, and hits are occurrences
of characters and pairs of them in a text, which C counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import LCSseq

from llama_gpt4.rouge import Tokenizer, f_score, spelled
from llama_gpt4.statistics import Estimate, Floats, estimate_of, resampled_means

MEASURES = ("rouge1", "rouge2", "rougeL")
ALL = "ALL"
BUCKETS: dict[str, tuple[int, int | None]] = {
    "0-2": (0, 2), "3-5": (3, 5), "6-10": (6, 10), "10-": (11, None)
}  # fmt: skip
"""Words of the reference, both ends included, by the names of the published files."""
UNKNOWN = chr(0x10FFFF)
"""Stands in a prediction for a token that the reference lacks."""


@dataclass(frozen=True)
class Mean:
    """A mean of one measure over the questions of a bucket."""

    plain: Estimate
    """The mean itself, and its interval by the bootstrap."""
    median: float
    """Of the means of the resamples, which is what rouge-score's aggregator gives, and the paper's
    numbers are."""


@dataclass(frozen=True)
class Bucket:
    """Questions whose references are about equally long."""

    name: str
    items: int
    means: list[list[Mean]]
    """For each model, those of `MEASURES`."""
    differences: list[list[Estimate]]
    """The same of the model minus the baseline, question by question; empty without a baseline."""


def bucket_of(length: int) -> str:
    return next(name for name, (_, last) in BUCKETS.items() if last is None or length <= last)


def f_scores(reference: Sequence[str], prediction: Sequence[str]) -> tuple[float, float, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F of two tokenised texts."""
    numbers: dict[str, int] = {}
    wanted = spelled(reference, numbers)
    known = {token: chr(number) for token, number in numbers.items()}
    got = "".join([known.get(token, UNKNOWN) for token in prediction])
    n, m = len(wanted), len(got)
    hits = _hits(known.values(), wanted, got)
    if not hits:
        return 0.0, 0.0, 0.0
    pairs = {wanted[place : place + 2] for place in range(n - 1)}
    return (
        f_score(hits, n, m),
        f_score(_hits(pairs, wanted, got), n - 1, m - 1),
        f_score(LCSseq.similarity(wanted, got), n, m),
    )


def score_questions(
    references: Sequence[str], answers: Sequence[Sequence[str]], tokenize: Tokenizer
) -> Floats:
    """`MEASURES` (N, 3) of N questions; of several answers to one, the mean."""
    scores = np.zeros((len(references), len(MEASURES)))
    for place, (reference, texts) in enumerate(zip(references, answers, strict=True)):
        wanted = tokenize(reference)
        if len(texts) == 1:
            scores[place] = f_scores(wanted, tokenize(texts[0]))
        else:
            scores[place] = np.mean([f_scores(wanted, tokenize(text)) for text in texts], axis=0)
    return scores


def bucketed(lengths: Sequence[int], scores: Floats, baseline: int | None) -> list[Bucket]:
    """Means of `scores` (M, N, 3) of M models by the N references' `lengths`, then over all.

    `baseline` is the place of the model that the others are compared with.
    """
    names = np.array([bucket_of(length) for length in lengths])
    rows = {name: np.flatnonzero(names == name) for name in BUCKETS} | {ALL: np.arange(len(names))}
    return [_bucket(name, scores[:, places], baseline) for name, places in rows.items()]


def _bucket(name: str, scores: Floats, baseline: int | None) -> Bucket:
    models, items, measures = scores.shape
    if not items:
        return Bucket(name, 0, [], [])
    plain = scores.mean(1)
    flat = scores.transpose(1, 0, 2).reshape(items, models * measures)
    resampled = resampled_means(flat).reshape(-1, models, measures)
    means = [
        [
            Mean(
                estimate_of(plain[model, measure], resampled[:, model, measure]),
                float(np.median(resampled[:, model, measure])),
            )
            for measure in range(measures)
        ]
        for model in range(models)
    ]
    if baseline is None:
        return Bucket(name, items, means, [])
    apart = resampled - resampled[:, baseline : baseline + 1]
    differences = [
        [
            estimate_of(plain[model, k] - plain[baseline, k], apart[:, model, k])
            for k in range(measures)
        ]
        for model in range(models)
    ]
    return Bucket(name, items, means, differences)


def _hits(ngrams: Iterable[str], wanted: str, got: str) -> int:
    hits = 0
    for ngram in ngrams:
        if n := _occurrences(ngram, got):
            hits += min(n, _occurrences(ngram, wanted))
    return hits


def _occurrences(ngram: str, text: str) -> int:
    """How often `ngram`, of one or two characters, is in `text`; xx is in xxx twice."""
    if len(ngram) == 1 or ngram[0] != ngram[1]:
        return text.count(ngram)
    n, place = 0, text.find(ngram)
    while place >= 0:
        n, place = n + 1, text.find(ngram, place + 1)
    return n
