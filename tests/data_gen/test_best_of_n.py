"""The best of k, against what counting all cases gives."""

from itertools import combinations, pairwise
from math import log

import numpy as np
import pytest
from llama_gpt4_data.best_of_n import curve, expected_best, kl_bound, order

REWARDS = np.random.default_rng(0).normal(size=(20, 6))


def test_it_is_the_mean_over_all_subsets() -> None:
    found = expected_best(REWARDS)
    for k in range(1, 7):
        subsets = [REWARDS[:, list(places)].max(1) for places in combinations(range(6), k)]
        assert found[:, k - 1] == pytest.approx(np.mean(subsets, axis=0), abs=1e-12)


def test_it_is_unbiased_for_the_best_of_new_answers() -> None:
    """The best of k numbers between 0 and 1 is k / (k + 1) in the mean."""
    drawn = np.random.default_rng(1).random((40_000, 5))
    found = expected_best(drawn)
    error = found.std(0) / len(drawn) ** 0.5
    expected = np.arange(1, 6) / np.arange(2, 7)
    assert (np.abs(found.mean(0) - expected) < 4 * error).all()


def test_equal_rewards_gain_nothing() -> None:
    assert expected_best(np.full((2, 300), 3.0)) == pytest.approx(3.0)
    assert [(p.gain.low, p.gain.high) for p in curve(np.ones((3, 2)))] == [(0, 0), (0, 0)]


def test_the_curve_rises_from_nothing() -> None:
    points = curve(REWARDS)
    assert [p.k for p in points] == [1, 2, 3, 4, 5, 6]
    assert points[0].gain.value == points[0].kl == 0
    assert points[0].reward.value == pytest.approx(REWARDS.mean())
    assert points[-1].reward.value == pytest.approx(REWARDS.max(1).mean())
    gains = [p.gain for p in points]
    assert all(a.value < b.value and b.low <= b.value <= b.high for a, b in pairwise(gains))


def test_what_a_model_adds_to_all_answers_of_a_question_is_no_gain() -> None:
    moved = REWARDS + 100 * np.arange(20)[:, None]
    for here, there in zip(curve(REWARDS), curve(moved), strict=True):
        assert here.gain.value == pytest.approx(there.gain.value)
        assert here.gain.high == pytest.approx(there.gain.high)


@pytest.mark.parametrize("k", [1, 2, 5, 40])
@pytest.mark.parametrize("n_texts", [2, 30, 10_000])
def test_the_divergence_is_bounded(k: int, n_texts: int) -> None:
    """Of the best of k from a model that gives n texts the same probability, of which no two are
    equally good."""
    below = np.arange(n_texts + 1) / n_texts
    best = np.diff(below**k)
    best = best[best > 0]
    exact = float((best * np.log(best * n_texts)).sum())
    assert exact <= kl_bound(k) + 1e-12
    if n_texts == 10_000:
        assert exact == pytest.approx(kl_bound(k), abs=2e-3)


def test_the_divergence_of_five() -> None:
    assert kl_bound(1) == 0
    assert kl_bound(5) == pytest.approx(log(5) - 0.8)


def test_of_equal_ones_the_first_given_comes_first() -> None:
    assert order(np.array([[1.0, 3, 1, 3], [0, 0, 0, 0]])).tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]
