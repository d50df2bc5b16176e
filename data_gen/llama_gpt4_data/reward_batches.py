"""Which comparisons a rank trains on in which step: a pure function of the step, as `batches.py`.

1. An epoch orders the prompts by (seed, epoch); a step takes the next `prompts_per_step` of them.
2. They go round the ranks, `prompts_per_micro_step` at a time. A prompt's responses stay together:
   it is read once for all of them, and each response once for all of its pairs.
3. Every rank knows the whole step, so it knows the weight of each of its terms without asking.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llama_gpt4.batches import epoch_bits, micro_batch_slices, permutation
from llama_gpt4_data.groups import Group, Groups
from llama_gpt4_data.reward_config import RankingLossConfig
from llama_gpt4_data.reward_examples import Compared, Ints
from llama_gpt4_data.reward_loss import Terms, term_weights, terms_of


@dataclass(frozen=True, eq=False)
class RewardBatch:
    """One micro-batch of one rank: R responses of Q prompts, without padding.

    A rank without prompts gets one dummy of one token, and no term, so that it runs the same
    collectives as the others and adds exactly 0.
    """

    tokens: Tensor
    """(N,) int64: each prompt, its responses after it."""
    groups: Groups
    """(Q,): what is a prompt and what a response."""
    responses: Tensor
    """(R,) int64: their numbers in the data."""
    winners: Tensor
    """(S,) int64: places in the R of each term's winner."""
    losers: Tensor
    """(S, R) bool."""
    margins: Tensor
    """(S,) float32, in rewards."""
    weights: Tensor
    """(S,) float32; they sum to 1 over all micro-batches and ranks of a step."""
    prompts: Tensor
    """(R,) int64: the prompt of each response, from 0 to Q - 1."""
    prompt_weights: Tensor
    """(Q,) float32: 1 / prompts of the step."""
    pairs: Tensor
    """(P, 2) int64: places in the R of a better and a worse response."""
    pair_share: float
    """1 / pairs of the step."""
    comparisons: tuple[int, ...]
    """(Q,) indices, for messages."""


class RewardBatches:
    """The micro-batches of one rank for any step, counted from 0; the only state is a cache."""

    def __init__(
        self,
        compared: Compared,
        loss: RankingLossConfig,
        *,
        prompts_per_step: int,
        prompts_per_micro_step: int,
        seed: int,
        rank: int,
        world_size: int,
    ) -> None:
        self._compared, self._loss = compared, loss
        self._per_step, self._per_micro_step = prompts_per_step, prompts_per_micro_step
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self._epoch, self._order = 0, self._plan(0)
        self.steps_per_epoch = -(-compared.n // prompts_per_step)

    def micro_steps(self, step: int) -> int:
        """Micro-batches that `micro_batches(step)` yields, equal on every rank."""
        sizes = self._per_micro_step, self._rank, self._world_size
        return len(micro_batch_slices(len(self._window(step)), *sizes))

    def micro_batches(self, step: int) -> Iterator[RewardBatch]:
        """This rank's micro-batches of `step`, each built when it is asked for."""
        return micro_batches(
            self._compared,
            self._window(step),
            self._loss,
            self._per_micro_step,
            self._rank,
            self._world_size,
        )

    def tokens(self, step: int) -> int:
        """Tokens in `step`, over all ranks, those of a prompt once."""
        return sum(group.tokens for group in self._groups(step))

    def squared_lengths(self, step: int) -> int:
        """What attention costs, as a sum of squares, over all ranks: a response of n tokens to a
        prompt of p costs (p + n)^2, of which p^2 is common to all responses."""
        return sum(
            p * p + sum((p + n) ** 2 - p * p for n in responses)
            for p, responses in self._groups(step)
        )

    def target_tokens(self, step: int) -> int:
        """Tokens of the responses in `step`, over all ranks, without their prompts."""
        return sum(sum(group.responses) for group in self._groups(step))

    def responses(self, step: int) -> int:
        """In `step`, over all ranks."""
        return sum(len(group.responses) for group in self._groups(step))

    def _groups(self, step: int) -> Groups:
        return tuple(self._compared.group_of(i) for i in self._window(step))

    def _window(self, step: int) -> Ints:
        epoch, window = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._plan(epoch)
        return self._order[window * self._per_step : (window + 1) * self._per_step]

    def _plan(self, epoch: int) -> Ints:
        return permutation(epoch_bits(self._seed, epoch), self._compared.n)


def micro_batches(
    compared: Compared,
    window: Ints,
    loss: RankingLossConfig,
    prompts_per_micro_step: int,
    rank: int,
    world_size: int,
) -> Iterator[RewardBatch]:
    """One rank's part of the prompts `window`, which make one step together."""
    terms = [terms_of(loss.kind, compared.pairs_of(i), compared.scores_of(i)) for i in window]
    weights = term_weights(loss.kind, np.array([len(t.winners) for t in terms]))
    n_pairs = sum(len(compared.pairs_of(i)) for i in window)
    shares = 1 / len(window), 1 / n_pairs
    for mine in micro_batch_slices(len(window), prompts_per_micro_step, rank, world_size):
        yield _batch(compared, window[mine], terms[mine], weights[mine], loss.points, shares)


def _batch(
    compared: Compared,
    chosen: Ints,
    terms: list[Terms],
    weights: npt.NDArray[np.float64],
    points: float,
    shares: tuple[float, float],
) -> RewardBatch:
    """`points` of reward a point of score; `shares` of one prompt and one pair in the step."""
    tokens = [compared.group_tokens_of(i) for i in chosen]
    sizes = np.array([len(compared.scores_of(i)) for i in chosen], np.int64)
    starts = np.cumsum(sizes) - sizes
    n_terms = np.array([len(t.winners) for t in terms], np.int64)
    term_starts = np.cumsum(n_terms) - n_terms
    losers = np.zeros((n_terms.sum(), max(1, sizes.sum())), bool)
    for at, start, size, term in zip(term_starts, starts, sizes, terms, strict=True):
        losers[at : at + len(term.winners), start : start + size] = term.losers
    dummy = [np.zeros(1, np.int64)]
    responses = [response for i in chosen for response in compared.responses(i)]
    return RewardBatch(
        tokens=torch.from_numpy(np.concatenate(tokens or dummy).astype(np.int64)),
        groups=tuple(compared.group_of(i) for i in chosen) or (Group(1, (0,)),),
        responses=torch.tensor(responses or [0]),
        winners=_joined([t.winners + s for t, s in zip(terms, starts, strict=True)], np.int64),
        losers=torch.from_numpy(losers),
        margins=_joined([points * t.points for t in terms], np.float32),
        weights=torch.from_numpy(np.repeat(weights, n_terms).astype(np.float32)),
        prompts=torch.from_numpy(np.repeat(np.arange(len(chosen)), sizes)),
        prompt_weights=torch.full((len(chosen),), shares[0]),
        pairs=_joined(
            [compared.pairs_of(i) + s for i, s in zip(chosen, starts, strict=True)], np.int64
        ).view(-1, 2),
        pair_share=shares[1],
        comparisons=tuple(chosen.tolist()),
    )


def _joined(parts: list[Any], dtype: Any) -> Tensor:
    return torch.from_numpy(np.concatenate([*parts]).astype(dtype) if parts else np.zeros(0, dtype))
