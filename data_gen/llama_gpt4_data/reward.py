"""Train a reward model: `llama-gpt4 reward`, or this module under `deepspeed` or `torchrun`.

What a run does is in `llama_gpt4/run.py`; what is trained here on what, and by which loss, is
below.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_gpt4 import run as runs
from llama_gpt4.program import ExitReport, end_at_once, run_program
from llama_gpt4.run import Subject, Training
from llama_gpt4_data.reward_backbone import hub_backbone, is_llama, llama_backbone
from llama_gpt4_data.reward_config import RewardConfig
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import Compared, PreparedComparisons, report_lines

if TYPE_CHECKING:  # they import torch, which has to wait until the configuration is known good
    from torch import Tensor

    from llama_gpt4.ranks import Ranks
    from llama_gpt4.summary import Summary
    from llama_gpt4_data.reward_batches import RewardBatch


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    return run_program("reward", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """One process of the training of a reward model."""
    runs.run(TRAINING, arguments, report)


def subject(config: RewardConfig, prepared: PreparedComparisons, ranks: "Ranks") -> Subject:
    """A reward model and its ranking of responses, for `run.train`."""
    from llama_gpt4_data.ranking import ranking

    backbone = (
        llama_backbone(config, prepared.vocab_size, prepared.ids, ranks)
        if is_llama(config.model)
        else hub_backbone(config, prepared.vocab_size, prepared.ids)
    )
    task = ranking(
        config,
        prepared,
        partial(rewards_of, ranks),
        lambda batches, step: backbone.flops_of(
            batches.tokens(step), batches.squared_lengths(step), batches.responses(step)
        ),
        ranks,
    )
    pairs = len(prepared.train.pairs) / task.batches.steps_per_epoch
    return Subject(
        task=task,
        build=backbone.build,
        weights=backbone.weights,
        hidden_size=backbone.hidden_size,
        n_parameters=backbone.n_parameters,
        described=backbone.described,
        step_size=f"{config.rows_per_step} prompts a step (about {pairs:.0f} pairs)",
        judge=partial(judge, config, prepared) if prepared.validation else None,
    )


def rewards_of(
    ranks: "Ranks", engine: Any, batch: "RewardBatch", compared: Compared
) -> "tuple[Tensor, dict[str, Tensor]]":
    """(R,) in float32, and nothing else."""
    return engine(batch.tokens.to(ranks.device, non_blocking=True), batch.groups), {}


def judge(config: RewardConfig, prepared: PreparedComparisons, model_folder: Path) -> "Summary":
    """Report on the exported model and the held-out prompts, to the terminal and `run_dir`."""
    from llama_gpt4_data.reward_report import report
    from llama_gpt4_data.reward_table import publish
    from llama_gpt4_data.score import Scorer

    held_out = prepared.validation
    assert held_out is not None
    found = report(held_out, Scorer(model_folder).rewards_of(held_out), prepared.train)
    return publish(model_folder.parent, "held-out prompts", found, asdict(config))


TRAINING = Training("reward", prepare, report_lines, subject)

if __name__ == "__main__":
    end_at_once(main())
