"""Learning to rank the responses to a prompt, for `fit`: what a reward model does with its rewards,
and preference training with those that a language model implies."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from llama_gpt4.loop import Task, evaluation
from llama_gpt4_data.reward_batches import RewardBatch, RewardBatches, micro_batches
from llama_gpt4_data.reward_config import ComparisonsConfig, RankingLossConfig
from llama_gpt4_data.reward_examples import Compared, PreparedComparisons
from llama_gpt4_data.reward_loss import centring_loss, ranking_loss

if TYPE_CHECKING:
    from llama_gpt4.ranks import Ranks

Parts = Callable[[Any, RewardBatch, Compared], tuple[Tensor, dict[str, Tensor]]]
"""(engine, batch, the data it is of) -> rewards (R,) in float32, and more parts of the step's
metrics."""


def ranking(
    config: ComparisonsConfig,
    prepared: PreparedComparisons,
    rewards_of: Parts,
    flops_of: Callable[[RewardBatches, int], float],
    ranks: "Ranks",
) -> Task:
    """Batches and loss; `flops_of` (batches, step) counts those of all ranks."""
    batches = RewardBatches(
        prepared.train,
        config.ranking,
        prompts_per_step=config.rows_per_step,
        prompts_per_micro_step=config.rows_per_micro_step,
        seed=config.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )

    def parts_of(compared: Compared, engine: Any, batch: RewardBatch) -> dict[str, Tensor]:
        rewards, more = rewards_of(engine, batch, compared)
        loss = batch_loss(rewards, batch, config.ranking)
        return {"loss": loss, "accuracy": accuracy(rewards.detach(), batch), **more}

    def evaluate(engine: Any) -> dict[str, float]:
        """The parts of the held-out prompts, as if all of them were one step."""
        held_out = prepared.validation
        assert held_out is not None
        found = micro_batches(
            held_out,
            np.arange(held_out.n),
            config.ranking,
            config.rows_per_micro_step,
            ranks.rank,
            ranks.world_size,
        )
        return evaluation(engine, partial(parts_of, held_out), found, ranks)

    return Task(
        batches=batches,
        parts_of=partial(parts_of, prepared.train),
        names_of=lambda batch: [prepared.train.record_name(i) for i in batch.comparisons],
        flops_of=partial(flops_of, batches),
        evaluate=evaluate if prepared.validation else None,
        sample=None,
        looks_first=False,
    )


def batch_loss(rewards: Tensor, batch: RewardBatch, loss: RankingLossConfig) -> Tensor:
    """A micro-batch's part of the loss of its step, which its `rewards` (R,) come to."""
    device = rewards.device
    ranked = ranking_loss(
        rewards,
        batch.winners.to(device),
        batch.losers.to(device),
        batch.margins.to(device),
        batch.weights.to(device),
    )
    if not loss.centring or not batch.comparisons:
        return ranked
    centred = centring_loss(rewards, batch.prompts.to(device), batch.prompt_weights.to(device))
    return ranked + loss.centring * centred


def leads(rewards: Tensor, batch: RewardBatch) -> Tensor:
    """How far the better response of each pair is ahead: `rewards` (R,) -> (P,)."""
    better, worse = batch.pairs.to(rewards.device).unbind(1)
    return rewards[better] - rewards[worse]


def accuracy(rewards: Tensor, batch: RewardBatch) -> Tensor:
    """A micro-batch's part of the share of pairs whose better response has the higher reward; one
    that is not told apart counts half."""
    return (leads(rewards, batch).sign() + 1).sum() * (batch.pair_share / 2)
