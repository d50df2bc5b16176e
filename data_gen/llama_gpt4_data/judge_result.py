"""`judge.json`: every number of an evaluation with its interval, and the settings that it is of."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from llama_gpt4.statistics import CONFIDENCE, RESAMPLES, Estimate
from llama_gpt4_data.judge_length import length_controlled
from llama_gpt4_data.judge_models import ModelScores, model_scores, ranked
from llama_gpt4_data.judge_pairs import (
    PairScores,
    first_place_gain,
    pair_scores,
    printed,
    relative,
    share,
)
from llama_gpt4_data.judge_records import Judgement

METHODS = {
    "relative_score": "sum of the model's points over sum of the opponent's; a question's points "
    "are the mean over orders of the median over repeats",
    "intervals": f"{CONFIDENCE:.0%}, percentile bootstrap over questions, {RESAMPLES} resamples",
    "win_rate": "share of orders in which the model was preferred, ties as half",
    "length_controlled_win_rate": "logistic regression of the preference on tanh(d / s), d the "
    "difference in characters and s its standard deviation, at d = 0 (Dubois et al. 2024, without "
    "its term for difficulty); log-F(1, 1) prior on both coefficients",
    "conflict_rate": "share of questions whose winner, or tie, changes with the order",
    "first_place_gain": "points that an answer gets more for being shown first",
}


def result(
    settings: dict[str, Any],
    judgements: Sequence[Judgement],
    opponent: str | None,
    ranking: Sequence[str],
) -> dict[str, Any]:
    """What the judgements come to."""
    pairs = _turned(pair_scores(judgements), opponent)
    models = model_scores(pairs, opponent)
    return {
        "settings": settings,
        "methods": METHODS,
        "judgements": judgement_counts(judgements),
        "pairs": [pair_result(scores) for scores in pairs],
        "matrix": _matrix(pairs),
        "models": _models(models),
        "ranking": _ranking(models, ranking),
    }


def judgement_counts(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """They add up: what is not scored is missing, for the reasons given."""
    failures: dict[str, int] = {}
    findings: dict[str, int] = {}
    for judgement in judgements:
        if judgement.scores is None:
            reason = judgement.source.get("failure") or "unreadable"
            failures[reason] = failures.get(reason, 0) + 1
        for finding in judgement.source.get("findings") or []:
            findings[finding] = findings.get(finding, 0) + 1
    return {
        "total": len(judgements),
        "scored": len(judgements) - sum(failures.values()),
        "missing": sum(failures.values()),
        "failures": failures,
        "findings": findings,
        "judges": sorted({str(j.source["judge"]) for j in judgements if j.source.get("judge")}),
    }


def pair_result(scores: PairScores) -> dict[str, Any]:
    """All numbers of one pair, from the side of its first model."""
    categories = list(dict.fromkeys(scores.categories))
    return {
        **_numbers(scores),
        "missing": scores.missing,
        "by_order": [
            {
                "order": list(order),
                "points": _sums(scores.by_order[place]),
                "relative_score": _estimate(relative(scores.by_order[place])),
            }
            for place, order in enumerate(scores.orders)
        ],
        "by_category": {
            category: _numbers(scores.in_category(category)) for category in categories
        },
    }


def _numbers(scores: PairScores) -> dict[str, Any]:
    """What can be said of any set of questions."""
    points, n = scores.points, len(scores.ids)
    found = relative(points)
    conflicts = scores.conflicts
    lengths = scores.lengths
    controlled = (
        None if lengths is None or not n else length_controlled(scores.preferences, lengths)
    )
    return {
        "models": list(scores.models),
        "questions": n,
        "points": _sums(points),
        "mean_scores": [total / n for total in _sums(points)] if n else None,
        "relative_score": _estimate(found),
        "percent": None if found is None else printed(100 * found.value),
        "win_tie_lose": [int((scores.outcomes == outcome).sum()) for outcome in (1, 0, -1)],
        "win_rate": _estimate(share(scores.preferences)),
        "length_controlled_win_rate": _estimate(controlled.win_rate if controlled else None),
        "length_coefficient": controlled.coefficient if controlled else None,
        "mean_characters": None if lengths is None or not n else lengths.mean(0).tolist(),
        "conflicts": None if conflicts is None else int(conflicts.sum()),
        "conflict_rate": _estimate(share(conflicts)),
        "first_place_gain": _estimate(first_place_gain(scores)),
    }


def _turned(pairs: Sequence[PairScores], opponent: str | None) -> list[PairScores]:
    """The opponent comes second, whichever order reviews were in."""
    return [scores.turned() if scores.models[0] == opponent else scores for scores in pairs]


def _matrix(pairs: Sequence[PairScores]) -> dict[str, dict[str, list[int]]]:
    """Wins, ties and losses of the model of a row against that of a column."""
    found: dict[str, dict[str, list[int]]] = {}
    for scores in pairs:
        first, second = scores.models
        counts = [int((scores.outcomes == outcome).sum()) for outcome in (1, 0, -1)]
        found.setdefault(first, {})[second] = counts
        found.setdefault(second, {})[first] = counts[::-1]
    return found


def _models(scores: ModelScores) -> dict[str, Any]:
    both = zip(scores.points.sum(0), scores.opponents.sum(0), strict=True)
    return {
        "questions": len(scores.ids),
        "scores": {
            model: {"points": [float(own), float(others)], "relative_score": _estimate(found)}
            for model, (own, others), found in zip(
                scores.models, both, scores.relative(), strict=True
            )
        },
    }


def _ranking(scores: ModelScores, ranking: Sequence[str]) -> dict[str, Any] | None:
    if not ranking:
        return None
    return {"order": list(ranking), "spearman": _estimate(ranked(scores, ranking))}


def _sums(points: Any) -> list[float]:
    return [float(total) for total in points.sum(0)]


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    """JSON has no infinity, which a bound is where draws have nothing to divide by."""
    if estimate is None:
        return None
    return {key: x if math.isfinite(x) else None for key, x in asdict(estimate).items()}
