"""Fine-tune LLaMA: `llama-gpt4 train`, or this module under `deepspeed` or `torchrun`.

What a run does is in `run.py`; what is trained here on what, and by which loss, is below.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_gpt4 import dry
from llama_gpt4 import run as runs
from llama_gpt4.architecture import LlamaConfig, architecture_of, n_parameters
from llama_gpt4.compose import training_config
from llama_gpt4.config import RunConfig, TrainConfig
from llama_gpt4.examples import Examples, Prepared, report_lines
from llama_gpt4.hub import local_snapshot
from llama_gpt4.prepare import prepare
from llama_gpt4.program import ExitReport, end_at_once, run_program
from llama_gpt4.run import Subject, Training

if TYPE_CHECKING:  # they import torch, which has to wait until the configuration is known good
    from llama_gpt4.loop import Task
    from llama_gpt4.ranks import Ranks
    from llama_gpt4.summary import Summary
    from llama_gpt4.weights import WeightSource


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    return run_program("train", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """One process of an instruction tuning."""
    config = training_config(arguments)
    if not config.train.dry:
        runs.run(TRAINING, arguments, report)
    elif int(os.environ.get("RANK", "0")) == 0:
        dry.run(config)


def subject(config: TrainConfig, prepared: Prepared, ranks: "Ranks") -> Subject:
    """A LLaMA and its instruction tuning, for `run.train`."""
    from llama_gpt4.engine import llama

    architecture = architecture_of(config.model, prepared.vocab_size)
    task = fine_tuning(config, prepared, architecture, ranks)
    return Subject(
        task=task,
        build=llama(config, architecture, ranks),
        weights=_weights(config, architecture),
        hidden_size=architecture.hidden_size,
        n_parameters=n_parameters(architecture),
        described=architecture.to_hugging_face(
            config.precision.dtype,
            bos_id=prepared.bos_id,
            eos_id=prepared.eos_id,
            pad_id=prepared.unk_id,
        ),
        step_size=_step_size(config, prepared, task),
        judge=_before_and_after if config.evaluation.questions is not None else None,
    )


def fine_tuning(
    config: TrainConfig, prepared: Prepared, architecture: LlamaConfig, ranks: "Ranks"
) -> "Task":
    """Batches and loss of instruction tuning, for `fit`."""
    from torch import Tensor

    from llama_gpt4.architecture import model_flops
    from llama_gpt4.batches import Batch, Batches, evaluation_batches
    from llama_gpt4.loop import Task, evaluation
    from llama_gpt4.samples import Sampler

    rows = config.batch.rows_per_micro_step
    batches = Batches(
        prepared.train,
        config.data,
        rows_per_step=config.rows_per_step,
        rows_per_micro_step=rows,
        normalisation=config.loss.normalisation,
        seed=config.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )

    def parts_of(engine: Any, batch: Batch) -> dict[str, Tensor]:
        loss = engine(
            batch.tokens.to(ranks.device, non_blocking=True),
            batch.positions.to(ranks.device, non_blocking=True),
            batch.document_lengths,
            batch.target_rows.to(ranks.device, non_blocking=True),
            batch.targets.to(ranks.device, non_blocking=True),
            batch.weights.to(ranks.device, non_blocking=True),
        )
        return {"loss": loss}

    def evaluate(held_out: Examples, engine: Any) -> dict[str, float]:
        held_out_batches = evaluation_batches(
            held_out, config.data.row_tokens, rows, ranks.rank, ranks.world_size
        )
        return evaluation(engine, parts_of, held_out_batches, ranks)

    return Task(
        batches=batches,
        parts_of=parts_of,
        names_of=lambda batch: [prepared.train.record_name(i) for i in batch.examples],
        flops_of=lambda step: model_flops(
            architecture,
            batches.tokens(step),
            batches.squared_lengths(step),
            batches.target_tokens(step),
        ),
        evaluate=partial(evaluate, prepared.validation) if prepared.validation else None,
        sample=Sampler(config, prepared, ranks) if prepared.asked.prompts else None,
        looks_first=config.evaluation.questions is not None,
    )


def _before_and_after(model_folder: Path) -> "Summary":
    from llama_gpt4.before_after import compare
    from llama_gpt4.checkpoint import saved_steps

    run_dir = model_folder.parent
    return compare(run_dir, saved_steps(run_dir)[-1])


def _weights(config: RunConfig, architecture: LlamaConfig) -> "WeightSource":
    from llama_gpt4.weights import RandomWeights, folder_weights

    if config.model.path is None:
        return RandomWeights(architecture, config.seed)
    return folder_weights(local_snapshot(config.model.path), architecture)


def _step_size(config: TrainConfig, prepared: Prepared, task: "Task") -> str:
    rows = config.rows_per_step
    if config.data.batching == "pad":
        return f"{rows} examples a step (about {prepared.train.lengths.mean() * rows:,.0f} tokens)"
    examples = prepared.train.n / task.batches.steps_per_epoch
    return (
        f"{config.batch.tokens_per_step:,} tokens a step ({rows} packed rows of "
        f"{config.data.row_tokens}, about {examples:.0f} examples)"
    )


TRAINING = Training("train", prepare, report_lines, subject)

if __name__ == "__main__":
    end_at_once(main())
