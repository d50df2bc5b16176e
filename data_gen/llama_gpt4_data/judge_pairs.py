"""What the judgements of two models come to.

O orders (1 where judgements were made in one only), N questions. A question counts if it has scores
in every order; all numbers of the pair leave out the others, for both models alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import numpy.typing as npt

from llama_gpt4.statistics import Estimate, Floats, mean, ratio
from llama_gpt4_data.judge_records import Judgement


def relative_score(points: float, opponent_points: float) -> float:
    """The paper's measure: a model's points for each of its opponent's."""
    return points / opponent_points


def printed(number: float) -> str:
    """A whole number as the paper's figures print it: 666.5 becomes 666, 667.5 becomes 668, since
    Python rounds halves to even."""
    return f"{number:.0f}"


@dataclass(frozen=True)
class PairScores:
    """The scores of two models on the questions that count."""

    models: tuple[str, str]
    orders: list[tuple[str, str]]
    ids: list[str]
    categories: list[str]
    by_order: Floats
    """Points (O, N, 2), the last axis as `models`: medians of the repeats."""
    lengths: Floats | None
    """Characters of the answers (N, 2); None where not all are known."""
    missing: list[str]
    """Questions that do not count."""

    @property
    def points(self) -> Floats:
        """(N, 2), means over the orders."""
        return self.by_order.mean(0)

    @property
    def outcomes(self) -> Floats:
        """(N,): 1 where the first model has more points over both orders, -1 where it has fewer,
        else 0."""
        return np.sign(self.points[:, 0] - self.points[:, 1])

    @property
    def preferences(self) -> Floats:
        """(N,): the share of orders in which the first model was preferred, ties as half."""
        return (1 + np.sign(self.by_order[:, :, 0] - self.by_order[:, :, 1]).mean(0)) / 2

    @property
    def conflicts(self) -> npt.NDArray[np.bool_] | None:
        """(N,): whether the orders disagree on which answer is better, or whether one is."""
        if len(self.orders) < 2:
            return None
        outcomes = np.sign(self.by_order[:, :, 0] - self.by_order[:, :, 1])
        return outcomes[0] != outcomes[1]

    def turned(self) -> "PairScores":
        """The same from the other model's side."""
        return replace(
            self,
            models=(self.models[1], self.models[0]),
            orders=self.orders[::-1],
            by_order=self.by_order[::-1, :, ::-1],
            lengths=None if self.lengths is None else self.lengths[:, ::-1],
        )

    def in_category(self, category: str) -> "PairScores":
        kept = [place for place, found in enumerate(self.categories) if found == category]
        return replace(
            self,
            ids=[self.ids[place] for place in kept],
            categories=[category] * len(kept),
            by_order=self.by_order[:, kept],
            lengths=None if self.lengths is None else self.lengths[kept],
            missing=[],
        )


def pair_scores(judgements: Sequence[Judgement]) -> list[PairScores]:
    """The scores of each pair of models that was judged."""
    by_pair: dict[tuple[str, str], list[Judgement]] = {}
    for judgement in judgements:
        first, second = judgement.models
        turned = (second, first)
        pair = turned if turned in by_pair else (first, second)
        by_pair.setdefault(pair, []).append(judgement)
    return [_scores(pair, found) for pair, found in by_pair.items()]


def relative(points: Floats) -> Estimate | None:
    """The relative score over questions (N, 2), with the paired bootstrap's interval; None where
    there is no point to compare with."""
    if not len(points) or not points[:, 1].sum():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):  # draws in which the opponent has none
        return ratio(points[:, 0], points[:, 1])


def share(values: npt.NDArray[np.bool_] | Floats | None) -> Estimate | None:
    """The mean over questions (N,)."""
    return None if values is None or not len(values) else mean(np.asarray(values, float))


def first_place_gain(scores: PairScores) -> Estimate | None:
    """Points that an answer gets more for being shown first, on average: 0 for a fair judge."""
    if len(scores.orders) < 2:
        return None
    # (N, 2); in order 0 the first model is shown first, also of a turned pair
    gains = scores.by_order[0] - scores.by_order[1]
    return share((gains[:, 0] - gains[:, 1]) / 2)


def _scores(pair: tuple[str, str], judgements: Sequence[Judgement]) -> PairScores:
    read: dict[tuple[str, tuple[str, str]], list[tuple[float, float]]] = {}
    seen: dict[str, Judgement] = {}
    for judgement in judgements:
        seen.setdefault(judgement.question_id, judgement)
        scores = read.setdefault((judgement.question_id, judgement.order), [])
        if judgement.scores is not None:
            scores.append(judgement.scores)
    orders = [o for o in (pair, (pair[1], pair[0])) if any(order == o for _, order in read)]
    ids = [id for id in seen if all(read.get((id, order)) for order in orders)]
    table = [[_median(read[id, order], order == pair) for id in ids] for order in orders]
    lengths = [_lengths(seen[id], pair) for id in ids]
    known = [each for each in lengths if each is not None]
    return PairScores(
        models=pair,
        orders=orders,
        ids=ids,
        categories=[seen[id].category for id in ids],
        by_order=np.array(table, float).reshape(len(orders), len(ids), 2),
        lengths=np.array(known, float) if known and len(known) == len(ids) else None,
        missing=[id for id in seen if id not in ids],
    )


def _median(scores: Sequence[tuple[float, float]], is_as_pair: bool) -> tuple[float, float]:
    """Of the repeats, for each answer; in the order of the pair."""
    first, second = (median(values) for values in zip(*scores, strict=True))
    return (first, second) if is_as_pair else (second, first)


def _lengths(judgement: Judgement, pair: tuple[str, str]) -> tuple[int, int] | None:
    if judgement.lengths is None:
        return None
    first, second = judgement.lengths
    return (first, second) if judgement.order == pair else (second, first)
