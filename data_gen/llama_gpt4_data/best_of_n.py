"""What it is worth to keep the best of several answers.

With rewards r_(1) <= … <= r_(n) of the n answers to a question, the mean over all subsets of k of
their largest reward is

    sum over i of r_(i) C(i - 1, k - 1) / C(n, k),

since C(i - 1, k - 1) subsets have r_(i) on top. It is a U-statistic: unbiased for the best of k new
answers, and at k = n just the best there is. Nothing is drawn.
"""

from dataclasses import dataclass
from math import comb, log

import numpy as np
import numpy.typing as npt

from llama_gpt4 import statistics
from llama_gpt4.statistics import Estimate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BestOf:
    """The best of `k` answers to each question."""

    k: int
    kl: float
    """Nats by which choosing it moves the model away from itself, at most."""
    reward: Estimate
    """Mean over questions."""
    gain: Estimate
    """The same beside a single answer. Of each question only differences count, so what a reward
    model adds to all answers of one falls out."""


def curve(rewards: Floats) -> list[BestOf]:
    """For k = 1 … n, of `rewards` (Q, n)."""
    best = expected_best(rewards)
    return [
        BestOf(
            k=k,
            kl=kl_bound(k),
            reward=statistics.mean(best[:, k - 1]),
            gain=statistics.mean(best[:, k - 1] - best[:, 0]),
        )
        for k in range(1, rewards.shape[1] + 1)
    ]


def expected_best(rewards: Floats) -> Floats:
    """(Q, n) rewards -> (Q, n): in column k - 1 the mean of the best of k."""
    n = rewards.shape[1]
    weights = np.array(
        [[comb(i - 1, k - 1) / comb(n, k) for k in range(1, n + 1)] for i in range(1, n + 1)]
    )  # (n, n), each column sums to 1
    return np.sort(rewards, axis=1) @ weights


def kl_bound(k: int) -> float:
    """log k - (k - 1) / k, the estimate of Stiennon et al. 2020 (arXiv 2009.01325, appendix G.3) of
    the KL divergence of best-of-k from the model. Beirami et al. 2024 (arXiv 2401.01879) prove that
    it is an upper bound, exact where no answer can come twice."""
    return log(k) - (k - 1) / k


def order(rewards: Floats) -> npt.NDArray[np.int64]:
    """(Q, n) places of the answers from the best to the worst; of equal ones the first given."""
    return np.argsort(-rewards, axis=1, kind="stable")
