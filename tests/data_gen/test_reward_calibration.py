"""Calibration against an independent computation, both orders of a pair, and known models."""

from itertools import pairwise

import numpy as np
import pytest
from llama_gpt4_data.reward_calibration import N_BINS, calibration
from scipy.special import expit

RANDOM = np.random.default_rng(0)
PROMPTS = np.repeat(np.arange(400), 5)
DIFFERENCES = RANDOM.normal(0, 1.5, size=len(PROMPTS))
"""Rewards of a first response minus those of a second."""
LEADS = np.where(RANDOM.random(len(PROMPTS)) < expit(DIFFERENCES), DIFFERENCES, -DIFFERENCES)
"""Of the better response, in a world in which Bradley and Terry are right about these rewards."""


def both_orders(leads: np.ndarray) -> float:
    """The expected calibration error over both orders of each pair, the plain way."""
    p = np.concatenate([expit(leads), expit(-leads)])
    outcome = np.concatenate([np.ones(len(leads)), np.zeros(len(leads))])
    edges = np.linspace(0, 1, 2 * N_BINS + 1)
    error = 0.0
    for low, high in pairwise(edges):
        inside = (p > low) & (p <= high)
        if inside.any():
            error += inside.mean() * abs(p[inside].mean() - outcome[inside].mean())
    return error


@pytest.mark.parametrize("leads", [LEADS, 3 * LEADS, LEADS - 1])
def test_one_order_says_what_both_say(leads: np.ndarray) -> None:
    assert calibration(leads, PROMPTS).expected_error.value == pytest.approx(both_orders(leads))


def test_true_probabilities_are_calibrated() -> None:
    found = calibration(LEADS, PROMPTS)
    assert found.expected_error.value == pytest.approx(found.by_chance, abs=0.02)
    inside = [b.better.low <= b.probability <= b.better.high for b in found.bins]
    assert len(found.bins) == N_BINS and sum(inside) >= N_BINS - 2
    assert sum(b.pairs for b in found.bins) == len(LEADS)


def test_rewards_that_are_too_large_are_not() -> None:
    found = calibration(4 * LEADS, PROMPTS)
    assert found.expected_error.low > 0.1 > 3 * found.by_chance
    assert all(b.better.high < b.probability for b in found.bins[-3:])


def test_equal_rewards_say_a_half() -> None:
    found = calibration(np.zeros(6), np.arange(6))
    assert found.expected_error.value == 0
    [only] = found.bins
    assert (only.probability, only.better.value, only.pairs) == (0.5, 0.5, 6)
