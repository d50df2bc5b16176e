"""Whether rewards mean what the Bradley-Terry model says: that the response whose reward is higher
by d is better with the probability 1 / (1 + exp(-d)).

A pair and its reverse say the same, p and 1 - p. So each pair is read once, from the side of the
response that the model favours: a probability between a half and 1 against whether that one is
better. The error with both orders, over bins that mirror each other, is the same number.

The expected calibration error (Naeini, Cooper and Hauskrecht 2015) is the mean over the pairs of
the distance between the mean probability of a bin and the share that was better.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from llama_gpt4.statistics import Estimate, estimate
from llama_gpt4_data.reward_pairs import Floats, Ints, mean_over_prompts, right

N_BINS = 10
"""Of equal width, between a half and 1."""
_DRAWS = 200


@dataclass(frozen=True)
class Bin:
    """The pairs whose probability is within one bin."""

    low: float
    high: float
    pairs: int
    probability: float
    """The mean."""
    better: Estimate
    """Share of the favoured responses that were better."""


@dataclass(frozen=True)
class Calibration:
    expected_error: Estimate
    """Resamples are noisier than the sample, so its interval lies rather too high."""
    by_chance: float
    """The mean error of a calibrated model with the same probabilities on as many independent
    pairs: a finite sample never shows 0."""
    bins: list[Bin]
    """Those that hold pairs."""


def calibration(leads: Floats, prompts: Ints) -> Calibration:
    """Of pairs whose better response leads by `leads` (P,), drawing `prompts` (P,)."""
    probability, better = expit(np.abs(leads)), right(leads)
    bins = np.minimum(((probability - 0.5) * 2 * N_BINS).astype(np.int64), N_BINS - 1)
    _, unit = np.unique(prompts, return_inverse=True)
    n_units = int(unit.max()) + 1
    place = unit * N_BINS + bins
    gaps = np.bincount(place, better - probability, n_units * N_BINS).reshape(n_units, N_BINS)
    sizes = np.bincount(unit)

    def expected_error(units: Ints) -> float:
        return float(np.abs(gaps[units].sum(0)).sum() / sizes[units].sum())

    random = np.random.default_rng(0)
    drawn = random.random((_DRAWS, len(leads))) < probability
    by_chance = [np.abs(np.bincount(bins, d - probability)).sum() / len(leads) for d in drawn]
    return Calibration(
        expected_error=estimate(expected_error, n_units),
        by_chance=float(np.mean(by_chance)),
        bins=[_bin(b, bins == b, probability, better, prompts) for b in np.unique(bins).tolist()],
    )


def _bin(
    number: int, inside: np.ndarray, probability: Floats, better: Floats, prompts: Ints
) -> Bin:
    return Bin(
        low=0.5 + number / (2 * N_BINS),
        high=0.5 + (number + 1) / (2 * N_BINS),
        pairs=int(inside.sum()),
        probability=float(probability[inside].mean()),
        better=mean_over_prompts(better[inside], prompts[inside]),
    )
