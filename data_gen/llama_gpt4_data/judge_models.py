"""What all judgements of an evaluation say of its models, on the questions that all pairs share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llama_gpt4.errors import require
from llama_gpt4.statistics import Estimate, Floats, estimate_rows, ratio
from llama_gpt4_data.judge_pairs import PairScores


@dataclass(frozen=True)
class ModelScores:
    """Points of M models on N questions, and of those that they were compared with."""

    models: list[str]
    ids: list[str]
    """The questions that count in every pair."""
    points: Floats
    """(N, M), over all pairs of the model."""
    opponents: Floats
    """(N, M)"""

    def relative(self) -> list[Estimate | None]:
        """Each model's relative score; None where there is no point to compare with."""
        columns = zip(self.points.T, self.opponents.T, strict=True)
        return [ratio(own, others) if others.sum() else None for own, others in columns]


def model_scores(pairs: Sequence[PairScores], opponent: str | None) -> ModelScores:
    """The opponent of all others is compared with nobody, and not among the models."""
    named = [model for scores in pairs for model in scores.models]
    models = [model for model in dict.fromkeys(named) if model != opponent]
    shared = set.intersection(*(set(scores.ids) for scores in pairs)) if pairs else set()
    ids = [id for id in pairs[0].ids if id in shared] if pairs else []
    points, opponents = (np.zeros((len(ids), len(models))) for _ in range(2))
    for scores in pairs:
        place = {id: n for n, id in enumerate(scores.ids)}
        both = scores.points[[place[id] for id in ids]]
        for own, other in ((0, 1), (1, 0)):
            if scores.models[own] in models:
                column = models.index(scores.models[own])
                points[:, column] += both[:, own]
                opponents[:, column] += both[:, other]
    return ModelScores(models, ids, points, opponents)


def rank_correlation(scores: Floats) -> Floats:
    """Spearman's, of scores (R, M) with the order of the M columns: 1 where each is lower than the
    one before. NaN where all scores are the same."""
    from scipy.stats import rankdata  # half a second, and `--help` needs none of it

    ranks = rankdata(-scores, axis=1)
    expected = np.arange(scores.shape[1], dtype=float)
    a, b = ranks - ranks.mean(1, keepdims=True), expected - expected.mean()
    with np.errstate(invalid="ignore"):
        found: Floats = (a @ b) / np.sqrt((a * a).sum(1) * (b * b).sum())
    return found


def ranked(scores: ModelScores, ranking: Sequence[str]) -> Estimate | None:
    """Spearman's correlation of relative scores with `ranking`, the best model first; None where
    there is none, as of models that are all alike."""
    for model in ranking:
        require(
            model in scores.models,
            f"ranking={model} has no score; there are {', '.join(scores.models)}",
        )
    columns = [scores.models.index(model) for model in ranking]
    own, others = scores.points[:, columns], scores.opponents[:, columns]
    if not len(own) or not others.sum(0).all():
        return None

    def correlations(places: npt.NDArray[np.int64]) -> Floats:
        return rank_correlation(own[places].sum(1) / others[places].sum(1))

    found = estimate_rows(correlations, len(own))
    return found if np.isfinite(found.value) else None
