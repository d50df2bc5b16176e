"""Fine-tune LLaMA: `llama-gpt4 train`, or this module under `deepspeed` or `torchrun`.

A run in order: the configuration is composed and frozen, the data are tokenised, the processes
meet, the model is read into its shards, `fit` trains, and rank 0 exports the model.
"""

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_gpt4 import dry
from llama_gpt4.architecture import LlamaConfig, from_path, from_sizes, n_parameters
from llama_gpt4.compose import config_hash, freeze, require_consistent, training_config
from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import Examples, Prepared, report_lines
from llama_gpt4.prepare import prepare
from llama_gpt4.program import (
    ExitReport,
    StopRequest,
    end_at_once,
    end_with_parent,
    hold,
    run_program,
)
from llama_gpt4.schedule import Plan, plan_steps
from llama_gpt4.tracker import require_installed

if TYPE_CHECKING:  # they import torch, which has to wait until the configuration is known good
    from llama_gpt4.loop import Task
    from llama_gpt4.ranks import Ranks

log = logging.getLogger("llama_gpt4.train")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    return run_program("train", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """One process of a training; with `--prepare` that of our launcher which comes before them."""
    is_launched = "--resolved" in arguments  # by ours, which has prepared the run directory
    if is_launched:
        end_with_parent()
    config = training_config(arguments)
    if config.train.dry:
        if int(os.environ.get("RANK", "0")) == 0:
            dry.run(config)
        return
    if not is_launched:
        require_consistent(config, int(os.environ.get("WORLD_SIZE", "1")))
    require_installed(config.tracking)
    prepared = prepare(config)
    if "--prepare" in arguments:
        print(*report_lines(prepared), sep="\n", flush=True)
        return
    rank = int(os.environ.get("RANK", "0"))
    run_dir = Path(config.run_dir)
    if rank == 0 and not is_launched:
        hold(run_dir)
        freeze(config)
        (run_dir / "exit.json").unlink(missing_ok=True)
        print(*report_lines(prepared), sep="\n", flush=True)
    if rank == 0 or is_launched:  # the others do not know yet whether the directory is ours
        report.run_dir = run_dir
        _log_to_file(run_dir, rank)
    train(config, prepared, report)


def train(config: TrainConfig, prepared: Prepared, report: ExitReport) -> None:
    """Everything after the data are there: from the meeting of the processes to the export."""
    from llama_gpt4.ranks import join, leave

    ranks = join(config.launch)
    from llama_gpt4 import checkpoint  # after joining: DeepSpeed decides on its device on import
    from llama_gpt4.engine import build_engine, operators
    from llama_gpt4.export import export
    from llama_gpt4.loop import fit
    from llama_gpt4.metrics import Metrics

    run_dir = Path(config.run_dir)
    if report.run_dir is None:  # rank 0 is here as well, so the directory is ours
        report.run_dir = run_dir
        _log_to_file(run_dir, ranks.rank)
    _require_shared(config, ranks)
    _fix_numerics(config, ranks)
    operators(config, ranks.device)  # what cannot run here says so before any work is done
    architecture, weights = _architecture_and_weights(config, prepared)
    good = checkpoint.last_good(run_dir, ranks)
    start = checkpoint.RunState(0, prepared.fingerprint)
    if good is not None:
        _require_same_data(good, prepared)
        start, weights = good.state, good
    task = fine_tuning(config, prepared, architecture, ranks)
    plan = plan_steps(config, task.batches.steps_per_epoch)
    if ranks.rank == 0:
        if start.step == 0:
            _keep_tokenizer(prepared, run_dir)
        _keep_report(prepared, run_dir)
        print(
            _start_line(config, prepared, architecture, task, plan, ranks, start.step), flush=True
        )
    with ExitStack() as whole_run, lever_for_memory(config):
        if start.step < plan.stop_step:
            _require_room(config, architecture)
            engine = build_engine(config, architecture, weights, ranks)
            if good is not None:
                checkpoint.restore(engine, good)
            described = _describe(config, architecture, prepared)
            metrics = whole_run.enter_context(Metrics(config, ranks, start.step, plan.stop_step))
            fit(engine, task, plan, config, ranks, start, described, StopRequest(), metrics)
        leave()
        if ranks.rank == 0:
            last = checkpoint.Checkpoint(
                checkpoint.step_folder(run_dir, checkpoint.saved_steps(run_dir)[-1])
            )
            export(last, run_dir / "tokenizer", run_dir / "model", config.precision.dtype)
            print(_end_line(run_dir), flush=True)


def fine_tuning(
    config: TrainConfig, prepared: Prepared, architecture: LlamaConfig, ranks: "Ranks"
) -> "Task":
    """Batches and loss of instruction tuning, for `fit`."""
    from torch import Tensor

    from llama_gpt4.architecture import model_flops
    from llama_gpt4.batches import Batch, Batches, evaluation_batches
    from llama_gpt4.loop import Task
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

    def loss_of(engine: Any, batch: Batch) -> Tensor:
        return engine(
            batch.tokens.to(ranks.device, non_blocking=True),
            batch.positions.to(ranks.device, non_blocking=True),
            batch.document_lengths,
            batch.target_rows.to(ranks.device, non_blocking=True),
            batch.targets.to(ranks.device, non_blocking=True),
            batch.weights.to(ranks.device, non_blocking=True),
        )

    def evaluation(held_out: Examples) -> Iterator[Batch]:
        return evaluation_batches(
            held_out, config.data.row_tokens, rows, ranks.rank, ranks.world_size
        )

    return Task(
        batches=batches,
        loss_of=loss_of,
        names_of=lambda batch: [prepared.train.record_name(i) for i in batch.examples],
        flops_of=lambda step: model_flops(
            architecture,
            batches.tokens(step),
            batches.squared_lengths(step),
            batches.target_tokens(step),
        ),
        evaluation=partial(evaluation, prepared.validation) if prepared.validation else None,
        sample=(
            Sampler(prepared, config.tracking, ranks)
            if prepared.validation and config.tracking.samples
            else None
        ),
    )


def _log_to_file(run_dir: Path, rank: int) -> None:
    """One log a rank. Other ranks may come here before rank 0 has made the folder."""
    folder = run_dir / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(folder / f"rank-{rank}.log")
    except OSError as error:
        raise InputError(
            f"run_dir={run_dir} cannot be written ({error.strerror}): choose another"
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    if rank == 0:
        console = logging.StreamHandler()
        console.setLevel(logging.WARNING)
        root.addHandler(console)


def _require_shared(config: TrainConfig, ranks: "Ranks") -> None:
    """Every rank has composed the same configuration and sees rank 0's run directory."""
    from llama_gpt4.checkpoint import appears
    from llama_gpt4.ranks import from_rank_zero, sum_over_ranks

    mine = int(config_hash(config)[:15], 16)
    differs = from_rank_zero(mine, ranks) != mine
    if sum_over_ranks([float(differs)], ranks)[0]:
        raise InputError(
            "the ranks have composed different configurations: start them all with the same line"
        )
    nonce = from_rank_zero(int(time.time_ns() % 2**62), ranks)
    mark = Path(config.run_dir) / f".shared-{nonce}"
    if ranks.rank == 0:
        mark.touch()
    sees = appears(mark, seconds=10)
    blind = sum_over_ranks([float(not sees)], ranks)[0]
    if ranks.rank == 0:
        mark.unlink()
    if blind:
        hint = f"; {ranks.host} does not see it" if not sees else ""
        raise InputError(f"run_dir={config.run_dir} must be on storage that all hosts share{hint}")


def _fix_numerics(config: TrainConfig, ranks: "Ranks") -> None:
    import torch

    from llama_gpt4.engine import DTYPES
    from llama_gpt4.numerics import medium_is_exact

    if (
        DTYPES[config.precision.dtype] is torch.bfloat16
        and ranks.device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        name = torch.cuda.get_device_name(ranks.device)
        raise InputError(f"precision.dtype=bfloat16, but {name} has none: use float32")
    torch.manual_seed(config.seed)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if config.precision.float32_matmul == "medium" and medium_is_exact(ranks):
        torch.set_float32_matmul_precision("medium")


def _architecture_and_weights(config: TrainConfig, prepared: Prepared) -> tuple[LlamaConfig, Any]:
    from llama_gpt4.hub import local_snapshot
    from llama_gpt4.weights import RandomWeights, folder_weights

    if config.model.path is None:
        architecture = from_sizes(config.model, prepared.vocab_size)
        return architecture, RandomWeights(architecture, config.seed)
    folder = local_snapshot(config.model.path)
    architecture = from_path(folder, config.model)
    if prepared.vocab_size > architecture.vocab_size:
        raise InputError(
            f"the tokenizer has {prepared.vocab_size} pieces, model.path={config.model.path} only "
            f"{architecture.vocab_size} rows of embeddings: use the model's own tokenizer"
        )
    return architecture, folder_weights(folder, architecture)


def _require_room(config: TrainConfig, architecture: LlamaConfig) -> None:
    """A save that fills the disk after hours of training is found out before the first step."""
    from llama_gpt4.checkpoint import saved_steps

    # Master weights and two moments in float32. The best checkpoint stays beside the newest ones,
    # and what is new is there before the old goes, which holds for the exported model as well.
    n = n_parameters(architecture)
    checkpoint_bytes = 12 * n
    model_bytes = n * (4 if config.precision.dtype == "float32" else 2)
    validation = config.data.validation
    has_best = bool(validation.files or validation.share)
    there = len(saved_steps(Path(config.run_dir)))
    missing = max(1, config.train.keep_checkpoints + has_best + 1 - there)
    free = shutil.disk_usage(config.run_dir).free
    if free < missing * checkpoint_bytes + model_bytes:
        raise InputError(
            f"run_dir={config.run_dir} has {free / 1e9:,.1f} GB free, and {missing} more "
            f"checkpoints of {checkpoint_bytes / 1e9:,.1f} GB and the model of "
            f"{model_bytes / 1e9:,.1f} GB must fit: choose another disk, or lower "
            "train.keep_checkpoints"
        )


@contextmanager
def lever_for_memory(config: TrainConfig) -> Iterator[None]:
    """A GPU that is full is a matter of configuration: say which key makes room."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        tried = str(error).split(". GPU")[0].replace("\n", " ")
        raise InputError(
            f"{tried}: {_less_memory(config)} takes less; `llama-gpt4 plan` with the same keys "
            "says what fits"
        ) from error


def _less_memory(config: TrainConfig) -> str:
    rows, zero = config.batch.rows_per_micro_step, config.zero
    levers = []
    if config.model.recompute != "full":
        levers.append("model.recompute=full")
    if rows > 1:
        levers.append(f"batch.rows_per_micro_step={rows // 2}")
    if zero.stage < 3:
        levers.append("zero=stage3")
    elif not (zero.offload_optimizer and zero.offload_parameters):
        levers.append("zero=offload")
    return " or ".join(levers) or "a run on more GPUs"


def _require_same_data(good: Any, prepared: Prepared) -> None:
    if good.state.data_fingerprint != prepared.fingerprint:
        raise InputError(
            f"{good.folder} was trained on other data: a file, the tokenizer or this program has "
            "changed since. Choose another run_dir, or bring the files back"
        )


def _describe(config: TrainConfig, architecture: LlamaConfig, prepared: Prepared) -> dict[str, Any]:
    """The model's config.json."""
    return architecture.to_hugging_face(
        config.precision.dtype,
        bos_id=prepared.bos_id,
        eos_id=prepared.eos_id,
        pad_id=prepared.unk_id,
    )


def _keep_tokenizer(prepared: Prepared, run_dir: Path) -> None:
    """The cache may be emptied some day; the run keeps its own copy."""
    partial = run_dir / "tokenizer.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(prepared.tokenizer_folder, partial)
    shutil.rmtree(run_dir / "tokenizer", ignore_errors=True)  # of a start that never trained
    partial.rename(run_dir / "tokenizer")


def _keep_report(prepared: Prepared, run_dir: Path) -> None:
    """`data.json`: what became of the records, and which tokens the run was trained on."""
    aside = run_dir / "data.partial"
    found = {
        "fingerprint": prepared.fingerprint,
        "vocab_size": prepared.vocab_size,
        **prepared.report,
    }
    aside.write_text(json.dumps(found, indent=1) + "\n")
    aside.replace(run_dir / "data.json")


def _start_line(
    config: TrainConfig,
    prepared: Prepared,
    architecture: LlamaConfig,
    task: "Task",
    plan: Plan,
    ranks: "Ranks",
    start: int,
) -> str:
    rows = config.rows_per_step
    examples = prepared.train.n / task.batches.steps_per_epoch
    size = (
        f"{config.batch.tokens_per_step:,} tokens a step ({rows} packed rows of "
        f"{config.data.row_tokens}, about {examples:.0f} examples)"
        if config.data.batching == "pack"
        else f"{rows} examples a step (about {prepared.train.lengths.mean() * rows:,.0f} tokens)"
    )
    resumed = f", resuming after step {start}" if start else ""
    return (
        f"{config.name}: {n_parameters(architecture):,} parameters, "
        f"vocabulary {architecture.vocab_size:,}; "
        f"{size}; "
        f"{plan.stop_step} steps of a schedule of {plan.total_steps} "
        f"({task.batches.steps_per_epoch} an epoch), warm-up {plan.warmup_steps}; "
        f"{config.precision.dtype}, {ranks.world_size} x {ranks.device.type}, "
        f"ZeRO-{config.zero.stage}, {config.model.kernels} kernels, "
        f"{config.model.attention} attention, recompute {config.model.recompute}{resumed}"
    )


def _end_line(run_dir: Path) -> str:
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    losses = [json.loads(line)["loss"] for line in lines if '"loss"' in line and line[-1] == "}"]
    fell = f"loss {losses[0]:.4f} at the start, {losses[-1]:.4f} at the end\n" if losses else ""
    return f"{fell}run directory {run_dir}\nmodel {run_dir / 'model'}"


if __name__ == "__main__":
    end_at_once(main())
