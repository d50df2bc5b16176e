"""Bootstrap intervals: against scipy's, their coverage, and the unit that is drawn."""

from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from llama_gpt4 import statistics
from llama_gpt4.statistics import Estimate, estimate, estimate_rows, mean, ratio

VALUES = np.random.default_rng(1).gamma(2, size=200)


def test_the_interval_is_scipys() -> None:
    ours = mean(VALUES)
    theirs = stats.bootstrap((VALUES,), np.mean, n_resamples=2000, method="percentile", rng=5)
    low, high = theirs.confidence_interval
    width = high - low
    assert ours.value == pytest.approx(VALUES.mean())
    assert ours.low == pytest.approx(low, abs=0.1 * width)
    assert ours.high == pytest.approx(high, abs=0.1 * width)


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    found = [mean(random.normal(3, 1, size=100)) for _ in range(300)]
    held = np.mean([e.low <= 3 <= e.high for e in found])
    assert 0.90 <= held <= 0.98


def test_a_ratio_of_sums_draws_whole_units() -> None:
    """Ten equal pairs of one prompt say no more than one."""
    random = np.random.default_rng(3)
    right = random.integers(2, size=40).astype(float)
    once, tenfold = ratio(right, np.ones(40)), ratio(10 * right, np.full(40, 10.0))
    assert once == tenfold
    apart = mean(np.repeat(right, 10))
    assert apart.high - apart.low < 0.5 * (once.high - once.low)


def test_any_statistic_and_the_same_draws() -> None:
    ours = estimate(lambda places: float(VALUES[places].mean()), len(VALUES))
    assert astuple(ours) == pytest.approx(astuple(mean(VALUES)))


def test_resamples_without_a_value_do_not_count() -> None:
    x = np.array([0.0, 0.0, 0.0, 1.0])

    def correlation(places: np.ndarray) -> float:
        same = np.ptp(x[places]) == 0
        return float("nan") if same else float(np.corrcoef(x[places], x[places])[0, 1])

    assert astuple(estimate(correlation, 4)) == pytest.approx((1, 1, 1))


def test_it_is_said_in_one_piece() -> None:
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 (0.250 to 0.750)"


def test_means_of_columns_are_resampled_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random((50, 2))
    values[:, 1] += values[:, 0]
    resampled = statistics.resampled_means(values)
    assert resampled.shape == (statistics.RESAMPLES, 2)
    for column in range(2):
        found = statistics.estimate_of(values[:, column].mean(), resampled[:, column])
        expected = statistics.mean(values[:, column])
        for part in ("value", "low", "high"):
            assert getattr(found, part) == pytest.approx(getattr(expected, part), abs=1e-12)
    monkeypatch.setattr(statistics, "_DRAWS_AT_ONCE", 1000)  # in blocks that bound the memory
    assert len(statistics.resampled_means(values)) == statistics.RESAMPLES


def test_many_draws_at_once_are_the_same_draws() -> None:
    one_by_one = estimate(lambda places: float(np.median(VALUES[places])), len(VALUES))
    assert estimate_rows(lambda places: np.median(VALUES[places], 1), len(VALUES)) == one_by_one
