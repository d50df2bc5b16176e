"""Losses over the rewards of several responses to one prompt.

Every loss is a weighted sum of terms, and a term is one winner against its losers:

    -log( exp(r_winner) / (exp(r_winner) + sum over losers of exp(r_loser + margin)) )

With one loser that is -log sigmoid(r_winner - r_loser - margin): the pairwise losses. With all
worse responses it is a choice of Plackett and Luce. Tied responses are never in one term.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of one prompt with K responses."""

    winners: Ints
    """(S,) places among the K."""
    losers: npt.NDArray[np.bool_]
    """(S, K)."""
    points: npt.NDArray[np.float64]
    """(S,) points of score that the winner leads by; 0 where the loss asks for no margin."""


def terms_of(kind: str, pairs: Ints, scores: npt.NDArray[np.float64]) -> Terms:
    """The terms of a prompt by the loss `kind`: `pairs` (P, 2) are places of a better and a worse
    response among those with `scores` (K,)."""
    k = len(scores)
    if kind == "plackett_luce":
        winners = np.unique(pairs[:, 0])
        losers = np.zeros((len(winners), k), bool)
        losers[np.searchsorted(winners, pairs[:, 0]), pairs[:, 1]] = True
        return Terms(winners, losers, np.zeros(len(winners)))
    losers = np.arange(k) == pairs[:, 1:]
    points = scores[pairs[:, 0]] - scores[pairs[:, 1]] if kind == "margin" else np.zeros(len(pairs))
    return Terms(pairs[:, 0], losers, points)


def term_weights(kind: str, n_terms: Ints) -> npt.NDArray[np.float64]:
    """(Q,) weight of one term of each prompt of a step, whose prompts have `n_terms` (Q,); over all
    terms they sum to 1."""
    if kind == "mean_over_pairs":
        return np.full(len(n_terms), 1 / max(1, n_terms.sum()))
    return 1 / (n_terms * max(1, len(n_terms)))


def ranking_loss(
    rewards: Tensor, winners: Tensor, losers: Tensor, margins: Tensor, weights: Tensor
) -> Tensor:
    """The weighted sum over terms, a scalar: `rewards` (R,), `winners` (S,), `losers` (S, R) bool,
    `margins` (S,) in rewards, `weights` (S,)."""
    ahead = rewards - rewards[winners, None] + margins[:, None]  # (S, R)
    ahead = ahead.masked_fill(~losers, float("-inf"))
    chances = ahead.new_zeros(len(winners), 1)
    return (weights * torch.logsumexp(torch.cat([chances, ahead], 1), 1)).sum()


def centring_loss(rewards: Tensor, prompts: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of squared mean rewards: `rewards` (R,) of the `prompts` (R,) with `weights`
    (Q,). Rankings leave a constant free; this one draws it to 0."""
    totals = rewards.new_zeros(len(weights)).index_add(0, prompts, rewards)
    counts = rewards.new_zeros(len(weights)).index_add(0, prompts, rewards.new_ones(len(rewards)))
    return (weights * (totals / counts) ** 2).sum()
