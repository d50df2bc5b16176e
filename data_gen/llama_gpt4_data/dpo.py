"""Train a model on preferences (DPO): `llama-gpt4 dpo`, or this module under `deepspeed` or
`torchrun`.

The reward of a response is how much likelier the model finds it than the model that the run starts
from did, and these rewards rank the responses as those of a reward model do (Rafailov et al. 2023,
"Direct Preference Optimization", equations 5 and 7):

    r(x, y) = beta * (log p(y | x) - log p_start(y | x))
    loss    = -log sigmoid(r(x, chosen) - r(x, rejected))

A forward pass reads a prompt once for all its responses, and a response once for all its pairs.
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from llama_gpt4 import run as runs
from llama_gpt4.architecture import architecture_of, model_flops, n_parameters
from llama_gpt4.hub import local_snapshot
from llama_gpt4.program import ExitReport, end_at_once, run_program
from llama_gpt4.run import Subject, Training
from llama_gpt4_data.dpo_config import DpoConfig
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import Compared, PreparedComparisons, report_lines

if TYPE_CHECKING:  # they import torch, which has to wait until the configuration is known good
    from torch import Tensor, nn

    from llama_gpt4.ranks import Ranks
    from llama_gpt4_data.dpo_reference import Reference
    from llama_gpt4_data.reward_batches import RewardBatch


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    return run_program("dpo", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """One process of a preference training."""
    runs.run(TRAINING, arguments, report)


def subject(config: DpoConfig, prepared: PreparedComparisons, ranks: "Ranks") -> Subject:
    """A LLaMA and its preferences, for `run.train`."""
    from llama_gpt4.engine import operators, sharded
    from llama_gpt4.weights import folder_weights
    from llama_gpt4_data.dpo_model import Policy
    from llama_gpt4_data.dpo_reference import Reference
    from llama_gpt4_data.ranking import ranking

    architecture = architecture_of(config.model, prepared.vocab_size)
    ids: dict[str, Any] = prepared.ids
    ops = operators(config, ranks.device)
    reference = Reference(config, prepared, ranks)

    def build(settings: dict[str, Any]) -> "nn.Module":
        with sharded(config, settings, ranks.device):
            return Policy(architecture, ops, config.model.recompute)

    task = ranking(
        config,
        prepared,
        partial(implicit_rewards, reference, config.loss.beta, ranks),
        lambda batches, step: model_flops(
            architecture,
            batches.tokens(step),
            batches.squared_lengths(step),
            batches.target_tokens(step),
        ),
        ranks,
    )
    assert config.model.path is not None
    pairs = len(prepared.train.pairs) / task.batches.steps_per_epoch
    return Subject(
        task=task,
        build=build,
        weights=folder_weights(local_snapshot(config.model.path), architecture),
        hidden_size=architecture.hidden_size,
        n_parameters=n_parameters(architecture),
        described=architecture.to_hugging_face(config.precision.dtype, **ids),
        step_size=f"{config.rows_per_step} prompts a step (about {pairs:.0f} pairs)",
        judge=None,
        begin=partial(reference.begin, partial(log_likelihoods, ranks)),
    )


def log_likelihoods(ranks: "Ranks", engine: Any, batch: "RewardBatch") -> "Tensor":
    """(R,) in float32."""
    tokens = batch.tokens.to(ranks.device, non_blocking=True)
    return engine(tokens, batch.groups)


def implicit_rewards(
    reference: "Reference",
    beta: float,
    ranks: "Ranks",
    engine: Any,
    batch: "RewardBatch",
    compared: Compared,
) -> "tuple[Tensor, dict[str, Tensor]]":
    """(R,) in float32; and means over the pairs of the step: how far the chosen response is ahead,
    and the log-probability of each of the two."""
    from llama_gpt4_data.ranking import leads

    found = log_likelihoods(ranks, engine, batch)
    before = reference.of(compared, batch.responses).to(ranks.device)
    rewards = beta * (found - before)
    chosen, rejected = found.detach()[batch.pairs.to(ranks.device)].sum(0) * batch.pair_share
    return rewards, {
        "reward_margin": leads(rewards.detach(), batch).sum() * batch.pair_share,
        "chosen_log_probability": chosen,
        "rejected_log_probability": rejected,
    }


TRAINING = Training("dpo", prepare, report_lines, subject)

if __name__ == "__main__":
    end_at_once(main())
