"""How sure a number is: intervals by the bootstrap (Efron 1979), at a fixed seed.

What is drawn again, with replacement, are the units that are independent of each other: questions,
prompts, never the pairs or votes within one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
RESAMPLES = 2000
_DRAWS_AT_ONCE = 2**22
"""Numbers drawn in one go, which bounds the memory."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number, and the interval that holds `CONFIDENCE` of the resampled ones."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def mean(values: Sequence[float] | Floats) -> Estimate:
    """The mean over independent units."""
    return ratio(values, np.ones(len(values)))


def ratio(parts: Sequence[float] | Floats, wholes: Sequence[float] | Floats) -> Estimate:
    """The sum of `parts` over the sum of `wholes`, each (N,) of N independent units: an accuracy
    over the pairs of prompts, or the points of one model per point of another."""
    a, b = np.asarray(parts, float), np.asarray(wholes, float)
    assert len(a) == len(b) > 0, (len(a), len(b))
    resampled = [a[draw].sum(1) / b[draw].sum(1) for draw in _draws(len(a))]
    return _estimate(a.sum() / b.sum(), np.concatenate(resampled))


def resampled_means(values: Floats) -> Floats:
    """The means of the columns of `values` (N, K) in each resample, (`RESAMPLES`, K). All columns
    are drawn alike, so that their differences are paired."""
    n = len(values)
    means = []
    for draw in _draws(n):
        rows = np.arange(len(draw))[:, None] * n
        counts = np.bincount((draw + rows).ravel(), minlength=draw.size).reshape(draw.shape)
        means.append(counts.astype(float) @ values / n)
    return np.concatenate(means)


def estimate_of(value: float, resampled: Floats) -> Estimate:
    """`value` with the interval of what the resamples gave."""
    return _estimate(value, resampled)


def estimate(statistic: Callable[[npt.NDArray[np.int64]], float], n_units: int) -> Estimate:
    """Any statistic, given as a function of the places of the units that are looked at."""
    resampled = [statistic(places) for draw in _draws(n_units) for places in draw]
    return _estimate(statistic(np.arange(n_units)), np.array(resampled))


def estimate_rows(statistic: Callable[[npt.NDArray[np.int64]], Floats], n_units: int) -> Estimate:
    """The same of a statistic that takes many draws at once: places (R, N) to values (R,)."""
    resampled = [statistic(draw) for draw in _draws(n_units)]
    return _estimate(float(statistic(np.arange(n_units)[None])[0]), np.concatenate(resampled))


def _draws(n_units: int) -> Iterator[npt.NDArray[np.int64]]:
    """`RESAMPLES` rows of `n_units` places, in blocks."""
    random = np.random.default_rng(0)
    rows = max(1, _DRAWS_AT_ONCE // n_units)
    for start in range(0, RESAMPLES, rows):
        yield random.integers(n_units, size=(min(rows, RESAMPLES - start), n_units))


def _estimate(value: float, resampled: Floats) -> Estimate:
    """NaN is what a resample without a value gave, such as a correlation of equal numbers."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return Estimate(float(value), float(low), float(high))
