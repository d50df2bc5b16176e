"""The win rate if both models' answers had the same length, which AlpacaEval 2 asks for (Dubois,
Galambosi, Liang, Hashimoto 2024, arXiv 2404.04475).

A logistic regression explains each question's preference y in [0, 1] by the models and by the
length difference d, in characters, over its standard deviation s:

    P(first model preferred) = sigmoid(a + b * tanh(d / s))

and the win rate at d = 0 is sigmoid(a). AlpacaEval has a third term, a difficulty of each question
that it knows from hundreds of models; there is none here. A model that wins every question has no
largest likelihood, so each coefficient has the weak prior log-F(1, 1), which is one more
observation with y = 1/2 (Greenland and Mansournia 2015, Statistics in Medicine 34).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llama_gpt4.statistics import Estimate, Floats, estimate_rows

STEPS = 25
LONGEST_STEP = 4.0
"""Of Newton's method, for each coefficient."""


@dataclass(frozen=True)
class LengthControlled:
    """What is left of a preference when length counts for nothing."""

    win_rate: Estimate
    """Of the first model, ties as half; the interval is the bootstrap's over questions."""
    coefficient: float
    """b: above 0, the judge prefers the longer answer."""


def length_controlled(preferences: Floats, lengths: Floats) -> LengthControlled | None:
    """`preferences` (N,) for the first model, `lengths` (N, 2); None where all differences are the
    same, since nothing tells then what length does."""
    differences = lengths[:, 0] - lengths[:, 1]
    spread = differences.std()
    if not spread:
        return None
    term = np.tanh(differences / spread)

    def win_rates(places: npt.NDArray[np.int64]) -> Floats:
        return _sigmoid(fit(preferences[places], term[places])[:, 0])

    whole = fit(preferences[None], term[None])[0]
    return LengthControlled(estimate_rows(win_rates, len(preferences)), float(whole[1]))


def fit(preferences: Floats, term: Floats) -> Floats:
    """The coefficients a and b (R, 2) of R regressions, of `preferences` on `term`, each (R, N)."""
    rows = len(preferences)
    prior = np.broadcast_to(np.eye(2), (rows, 2, 2))
    x = np.concatenate([np.stack([np.ones_like(term), term], -1), prior], 1)  # (R, N + 2, 2)
    y = np.concatenate([preferences, np.full((rows, 2), 0.5)], 1)
    found = np.zeros((rows, 2))
    for _ in range(STEPS):
        p = _sigmoid((x @ found[:, :, None])[:, :, 0])
        gradient = np.einsum("rn,rni->ri", y - p, x)
        hessian = np.einsum("rn,rni,rnj->rij", p * (1 - p), x, x)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        found += np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        if np.abs(step).max() < 1e-10:
            break
    return found


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))
