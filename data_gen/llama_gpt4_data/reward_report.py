"""What a reward model has learnt (R-18): accuracy on pairs by their sources, margin of score,
language and subset, beside two rules that read no text; calibration; correlation with the scores.

Every number has an interval that draws prompts, whose pairs are not independent of each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from llama_gpt4.statistics import Estimate
from llama_gpt4_data.reward_bench import SECTIONS, benchmark_score, section_weights, sections
from llama_gpt4_data.reward_calibration import Calibration, calibration
from llama_gpt4_data.reward_correlation import Correlation, correlation
from llama_gpt4_data.reward_examples import LANGUAGES, Compared
from llama_gpt4_data.reward_pairs import (
    Floats,
    Ints,
    Pairs,
    Texts,
    leads_of,
    length_only,
    mean_over_prompts,
    pairs_of,
    right,
    source_only,
)

MARGINS = (0.0, 1.0, 2.0, 4.0, 6.0, float("inf"))
"""Points of score between which a bin lies; its upper edge is within."""
FITTED_ON = ("the training data", "the other prompts")
"""What the two rules have learnt from."""


@dataclass(frozen=True)
class Row:
    """Shares of pairs of which the better response was found; one that is not told apart counts
    half."""

    name: str
    prompts: int
    pairs: int
    accuracy: Estimate
    length_only: Estimate
    source_only: Estimate


@dataclass(frozen=True)
class Report:
    prompts: int
    rules_from: str
    """One of `FITTED_ON`."""
    unscored_pairs: int
    """That have an order and no margin."""
    overall: Row
    above_length_only: Estimate
    """By how much the accuracy is higher."""
    above_source_only: Estimate
    by: dict[str, list[Row]]
    """`sources`; `margin` where there are scores, `language` where there are several, `subset` and
    RewardBench's `section` where records name them."""
    benchmark_score: Estimate | None
    """RewardBench's, where all of it was judged."""
    calibration: Calibration
    spearman: Correlation | None
    """None without scores."""


def report(compared: Compared, rewards: Sequence[Floats], train: Compared | None) -> Report:
    """Of `rewards` (K,) of the responses to each prompt; the rules are fitted on `train`."""
    pairs, leads = pairs_of(compared), leads_of(compared, rewards)
    seen = None if train is None else pairs_of(train)
    judged = _Judged(
        pairs.prompts, right(leads), length_only(pairs, seen), source_only(pairs, seen)
    )
    return Report(
        prompts=len(set(pairs.prompts.tolist())),
        rules_from=FITTED_ON[train is None],
        unscored_pairs=int(np.isnan(pairs.margins).sum()),
        overall=judged.row("all"),
        above_length_only=judged.share(judged.accuracy - judged.length_only),
        above_source_only=judged.share(judged.accuracy - judged.source_only),
        by=dict(_groups(judged, pairs)),
        benchmark_score=benchmark_score(judged.accuracy, pairs.prompts, pairs.subsets),
        calibration=calibration(leads, pairs.prompts),
        spearman=correlation(compared, rewards),
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """(P,) each: how right the rewards and the rules are about a pair."""

    prompts: Ints
    accuracy: Floats
    length_only: Floats
    source_only: Floats

    def rows(self, names: Texts, order: Sequence[str], weights: Floats | None = None) -> list[Row]:
        """The pairs by their `names` (P,), in this order."""
        return [self.row(name, names == name, weights) for name in order if name in names]

    def row(
        self, name: str, inside: np.ndarray | None = None, weights: Floats | None = None
    ) -> Row:
        inside = np.ones(len(self.prompts), bool) if inside is None else inside
        weight = inside * (1.0 if weights is None else weights)
        return Row(
            name=name,
            prompts=len(set(self.prompts[inside].tolist())),
            pairs=int(inside.sum()),
            accuracy=self.share(self.accuracy, weight),
            length_only=self.share(self.length_only, weight),
            source_only=self.share(self.source_only, weight),
        )

    def share(self, values: Floats, weights: Floats | None = None) -> Estimate:
        return mean_over_prompts(values, self.prompts, weights)


def _groups(judged: _Judged, pairs: Pairs) -> Iterator[tuple[str, list[Row]]]:
    yield "sources", judged.rows(pairs.sources, _most_pairs_first(pairs.sources))
    is_scored = ~np.isnan(pairs.margins)
    if is_scored.any():
        labels = margin_names()
        places = np.searchsorted(MARGINS, np.nan_to_num(pairs.margins)) - 1
        bins = np.where(is_scored, np.array(labels)[places], "")
        yield "margin", judged.rows(bins, labels)
    if len(np.unique(pairs.languages)) > 1:
        yield "language", judged.rows(pairs.languages, LANGUAGES)
    if (pairs.subsets != "").any():
        named = pairs.subsets[pairs.subsets != ""]
        yield "subset", judged.rows(pairs.subsets, _most_pairs_first(named))
        found = sections(pairs.subsets)
        rows = judged.rows(found, tuple(SECTIONS), section_weights(pairs.subsets))
        if rows:
            yield "section", rows


def _most_pairs_first(names: Texts) -> list[str]:
    found, counts = np.unique(names, return_counts=True)
    return found[np.argsort(-counts, kind="stable")].tolist()


def margin_names() -> list[str]:
    """Of the bins of `MARGINS`."""
    names = [f"{low:g} to {high:g}" for low, high in pairwise(MARGINS)]
    return [f"up to {MARGINS[1]:g}", *names[1:-1], f"above {MARGINS[-2]:g}"]
