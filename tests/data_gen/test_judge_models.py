"""What all pairs say of a model, and rank correlations."""

import numpy as np
import pytest
from llama_gpt4_data.judge_models import model_scores, rank_correlation, ranked
from llama_gpt4_data.judge_pairs import pair_scores
from scipy.stats import spearmanr

from llama_gpt4.errors import InputError

from .judging import judgement


def scores_of(*judged: tuple[str, str, tuple[float, float] | None]):  # type: ignore[no-untyped-def]
    return pair_scores([judgement(*each) for each in judged])


def test_models_are_compared_on_the_questions_that_all_pairs_share() -> None:
    pairs = scores_of(
        ("1", "ac", (8, 4)), ("2", "ac", (6, 9)), ("3", "ac", (1, 1)),
        ("1", "bc", (2, 4)), ("2", "bc", (3, 6)), ("3", "bc", None),
    )  # fmt: skip
    scores = model_scores(pairs, "c")
    assert scores.models == ["a", "b"] and scores.ids == ["1", "2"]
    values = [found.value for found in scores.relative() if found is not None]
    assert values == [14 / 13, 5 / 10]


def test_all_against_all_adds_up_every_pair_of_a_model() -> None:
    pairs = scores_of(("1", "ab", (8, 4)), ("1", "ac", (6, 9)), ("1", "bc", (3, 6)))
    scores = model_scores(pairs, None)
    assert scores.points.tolist() == [[14, 7, 15]] and scores.opponents.tolist() == [[13, 14, 9]]


def test_rank_correlation_is_spearman_s_also_with_ties() -> None:
    random = np.random.default_rng(0)
    rows = np.vstack([random.normal(size=(5, 6)), [[3, 3, 2, 2, 1, 0]]])
    found = rank_correlation(rows)
    for row, value in zip(rows, found, strict=True):
        assert value == pytest.approx(spearmanr(-row, np.arange(6)).statistic)
    assert np.isnan(rank_correlation(np.ones((1, 3)))[0])


def test_a_ranking_has_its_correlation_and_interval() -> None:
    judged = [(str(n), f"{m}z", (8 - k + n % 3, 8)) for n in range(12) for k, m in enumerate("abc")]
    scores = model_scores(scores_of(*judged), "z")
    assert scores.models == ["a", "b", "c"]
    found = ranked(scores, ["a", "b", "c"])
    assert found is not None and (found.value, found.low, found.high) == (1, 1, 1)
    turned = ranked(scores, ["c", "b", "a"])
    assert turned is not None and turned.value == -1
    with pytest.raises(InputError, match="ranking=x has no score; there are a, b, c"):
        ranked(scores, ["a", "x"])
