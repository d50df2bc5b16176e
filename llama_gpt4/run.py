"""What every training run does, whatever it trains, and in which order: the configuration is
composed and frozen, the data are tokenised, the processes meet, the model is read into its shards,
`fit` trains, and rank 0 exports the model.

What differs from one program to the next is a `Training`, and for one run of it a `Subject`.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llama_gpt4.compose import require_consistent, run_config
from llama_gpt4.config import RunConfig
from llama_gpt4.deepspeed_command import DeepSpeedCommand
from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import config_hash, freeze
from llama_gpt4.program import ExitReport, StopRequest, end_with_parent, hold
from llama_gpt4.room import lever_for_memory, require_room
from llama_gpt4.schedule import Plan, plan_steps
from llama_gpt4.summary import Summary, store_summary
from llama_gpt4.tracker import require_installed, run_id

if TYPE_CHECKING:  # they import torch, which has to wait until the configuration is known good
    from torch.nn import Module

    from llama_gpt4.checkpoint import Checkpoint
    from llama_gpt4.loop import Task
    from llama_gpt4.ranks import Ranks
    from llama_gpt4.weights import WeightSource

log = logging.getLogger(__name__)


class Prepared(Protocol):
    """Tokenised data, as a run looks at them."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def tokenizer_folder(self) -> Path: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def report(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Training:
    """A program that trains."""

    program: str
    """Its verb."""
    prepare: Callable[[Any], Any]
    """Its configuration -> `Prepared`, tokenised now unless somebody did it before."""
    report_lines: Callable[[Any], list[str]]
    """What became of the data, in words."""
    subject: Callable[[Any, Any, "Ranks"], "Subject"]
    """(configuration, prepared, ranks) -> what the run trains."""


@dataclass(frozen=True)
class Subject:
    """A model, and a task for it."""

    task: "Task"
    build: Callable[[dict[str, Any]], "Module"]
    """The model, of DeepSpeed's settings; sharded under ZeRO-3."""
    weights: "WeightSource | None"
    """Where the weights of a new run come from; None: `build` brings them."""
    hidden_size: int
    """D, which sets the size of ZeRO-3's buckets."""
    n_parameters: int
    described: dict[str, Any]
    """The exported model's config.json."""
    step_size: str
    """How much goes into a step, in words."""
    judge: Callable[[Path], Summary] | None
    """What rank 0 has to say of the exported model, last of all."""
    begin: Callable[[Any], None] | None = None
    """What all ranks do with an engine that has the weights of a new run; not where one resumes."""


def run(training: Training, arguments: Sequence[str], report: ExitReport) -> None:
    """One process of a run; with `--prepare` that of our launcher which comes before them."""
    is_launched = "--resolved" in arguments  # by ours, which has prepared the run directory
    if is_launched:
        end_with_parent()
    config = run_config(training.program, arguments)
    if config.program != training.program:
        raise InputError(f"{config.run_dir} is a run of `llama-gpt4 {config.program}`")
    if not is_launched:
        require_consistent(config, int(os.environ.get("WORLD_SIZE", "1")))
    require_installed(config.tracking)
    rank = int(os.environ.get("RANK", "0"))
    if rank > 0 or (is_launched and "--prepare" not in arguments):
        # What the data give cause to warn of is said once, by whoever reads them first.
        logging.getLogger().addHandler(logging.NullHandler())
    run_dir = Path(config.run_dir)
    if is_launched:
        report.run_dir = run_dir
    prepared = training.prepare(config)
    if "--prepare" in arguments:
        report.run_dir = None  # that the data are there is not yet the end of the run
        print(*training.report_lines(prepared), sep="\n", flush=True)
        return
    if rank == 0 and not is_launched:
        hold(run_dir)
        freeze(config)
        (run_dir / "exit.json").unlink(missing_ok=True)
        print(*training.report_lines(prepared), sep="\n", flush=True)
    if rank == 0 or is_launched:  # the others do not know yet whether the directory is ours
        report.run_dir = run_dir
        _log_to_file(run_dir, rank)
    train(training, config, prepared, report)


def train(training: Training, config: RunConfig, prepared: Prepared, report: ExitReport) -> None:
    """Everything after the data are there: from the meeting of the processes to the export."""
    from llama_gpt4.ranks import join, leave

    command = DeepSpeedCommand()
    ranks = join(config.launch)
    from llama_gpt4 import checkpoint  # after joining: DeepSpeed decides on its device on import
    from llama_gpt4.export import export
    from llama_gpt4.heartbeat import Heartbeat
    from llama_gpt4.numerics import fix_numerics

    run_dir = Path(config.run_dir)
    if report.run_dir is None:  # rank 0 is here as well, so the directory is ours
        report.run_dir = run_dir
        _log_to_file(run_dir, ranks.rank)
    _require_shared(config, ranks)
    fix_numerics(config, ranks)
    subject = training.subject(config, prepared, ranks)  # what cannot run here says so now
    good = checkpoint.last_good(run_dir, ranks, subject.described)
    start = checkpoint.RunState(0, prepared.fingerprint)
    if good is not None:
        _require_same_data(good, prepared)
        start = checkpoint.without_lost_best(good.state, run_dir, ranks)
    plan = plan_steps(config, subject.task.batches.steps_per_epoch)
    if ranks.rank == 0:
        if start.step == 0:
            _keep_tokenizer(prepared, run_dir)
        _keep_report(prepared, run_dir)
        begins = start_line(config, subject, plan, ranks, start.step)
        print(begins, flush=True)
        log.info(begins)
    with ExitStack() as whole_run, lever_for_memory(config):
        with Heartbeat(run_dir, ranks, report, config.launch.hang_seconds, command):
            if start.step < plan.stop_step:
                _fit(config, subject, plan, start, good, ranks, whole_run)
        leave()
        if ranks.rank == 0:
            last = checkpoint.Checkpoint(
                checkpoint.step_folder(run_dir, checkpoint.saved_steps(run_dir)[-1])
            )
            export(last, run_dir / "tokenizer", run_dir / "model", config.precision.dtype)
            if subject.judge is not None:
                store_summary(run_dir, subject.judge(run_dir / "model"))
            print(_end_line(run_dir), flush=True)


def _fit(
    config: RunConfig,
    subject: Subject,
    plan: Plan,
    start: Any,
    good: "Checkpoint | None",
    ranks: "Ranks",
    whole_run: ExitStack,
) -> None:
    from llama_gpt4 import checkpoint
    from llama_gpt4.engine import engine_of
    from llama_gpt4.loop import Course, fit
    from llama_gpt4.metrics import Metrics

    require_room(config, subject.n_parameters)
    ranks.progress.at("reading the weights")
    weights = subject.weights if good is None else good
    engine = engine_of(config, subject.build, subject.hidden_size, weights, ranks)
    if good is not None:
        checkpoint.restore(engine, good)
    elif subject.begin is not None:
        subject.begin(engine)
    if ranks.rank == 0 and config.tracking.kind == "wandb":
        start = replace(start, wandb_id=run_id(Path(config.run_dir), start.wandb_id))
    metrics = whole_run.enter_context(Metrics(config, ranks, start.step, plan.stop_step))
    course = Course(engine, subject.task, plan, config, ranks, metrics)
    fit(course, start, subject.described, StopRequest())


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
    # DeepSpeed looks for libraries by compiling against them, and each try would have two lines.
    logging.getLogger("compilers").setLevel(logging.WARNING)
    root.addHandler(handler)
    if rank == 0:
        console = logging.StreamHandler()
        console.setLevel(logging.WARNING)
        root.addHandler(console)


def _require_shared(config: RunConfig, ranks: "Ranks") -> None:
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


def _require_same_data(good: Any, prepared: Prepared) -> None:
    if good.state.data_fingerprint != prepared.fingerprint:
        raise InputError(
            f"{good.folder} was trained on other data: a file, the tokenizer or this program has "
            "changed since. Choose another run_dir, or bring the files back"
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


def start_line(config: RunConfig, subject: Subject, plan: Plan, ranks: "Ranks", start: int) -> str:
    """What is about to be trained, in a line."""
    resumed = f", resuming after step {start}" if start else ""
    if start >= plan.stop_step:
        resumed = f", nothing left to train: step {start} is saved"
    return (
        f"{config.name}: {subject.n_parameters:,} parameters, "
        f"vocabulary {subject.described['vocab_size']:,}; "
        f"{subject.step_size}; "
        f"{plan.stop_step} steps of a schedule of {plan.total_steps} "
        f"({subject.task.batches.steps_per_epoch} an epoch), warm-up {plan.warmup_steps}; "
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
