"""The regression is the one that is named, and finds a bias that was put in."""

import numpy as np
import pytest
from llama_gpt4_data.judge_length import fit, length_controlled
from scipy.optimize import minimize
from scipy.special import expit


def penalised_loss(coefficients: np.ndarray, y: np.ndarray, term: np.ndarray) -> float:
    a, b = coefficients
    p = expit(a + b * term)
    likelihood = (y * np.log(p) + (1 - y) * np.log(1 - p)).sum()
    prior = sum(c / 2 - np.log1p(np.exp(c)) for c in coefficients)  # log-F(1, 1)
    return float(-likelihood - prior)


def test_the_fit_is_the_largest_penalised_likelihood() -> None:
    random = np.random.default_rng(1)
    term = np.tanh(random.normal(size=(3, 60)))
    y = random.integers(0, 5, size=(3, 60)) / 4
    y[2] = 1.0  # wins everything
    for row, found in enumerate(fit(y, term)):
        best = minimize(penalised_loss, np.zeros(2), (y[row], term[row]), tol=1e-12)
        assert found == pytest.approx(best.x, abs=1e-4)
    assert np.isfinite(fit(y, term)).all()


def test_a_preference_for_length_alone_is_taken_out() -> None:
    random = np.random.default_rng(2)
    lengths = random.integers(100, 2000, size=(400, 2)).astype(float)
    lengths[:, 0] += 700
    differences = lengths[:, 0] - lengths[:, 1]
    preferred = random.random(400) < expit(2 * np.tanh(differences / differences.std()))
    found = length_controlled(preferred.astype(float), lengths)
    assert found is not None and preferred.mean() > 0.7
    assert found.win_rate.low < 0.5 < found.win_rate.high < preferred.mean()
    assert found.coefficient == pytest.approx(2, abs=0.6)


def test_a_better_model_stays_better_whatever_its_length() -> None:
    random = np.random.default_rng(3)
    lengths = random.integers(100, 2000, size=(400, 2)).astype(float)
    lengths[:, 0] -= 90
    preferred = (random.random(400) < 0.8).astype(float)
    found = length_controlled(preferred, lengths)
    assert found is not None and abs(found.win_rate.value - preferred.mean()) < 0.03


def test_without_differences_of_length_there_is_nothing_to_control() -> None:
    assert length_controlled(np.array([1.0, 0.0]), np.array([[5.0, 5.0], [9.0, 9.0]])) is None
