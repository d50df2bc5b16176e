"""The training loop: one function, with every cadence in sight. What is trained on what, and by
which loss, is a `Task` that the caller brings."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from llama_gpt4 import engine as engines
from llama_gpt4.checkpoint import RunState
from llama_gpt4.config import RunConfig
from llama_gpt4.errors import InputError, Preempted
from llama_gpt4.metrics import Metrics, peak_flops, peak_memory_bytes
from llama_gpt4.program import StopRequest
from llama_gpt4.ranks import Ranks, sum_over_ranks
from llama_gpt4.samples import Sample, store_samples
from llama_gpt4.saver import Saver
from llama_gpt4.schedule import Plan, learning_rate

log = logging.getLogger(__name__)


class StepBatches(Protocol):
    """The training data by step, as `batches.Batches` gives it."""

    steps_per_epoch: int

    def micro_batches(self, step: int) -> Iterator[Any]: ...
    def micro_steps(self, step: int) -> int: ...
    def tokens(self, step: int) -> int: ...
    def target_tokens(self, step: int) -> int: ...


@dataclass(frozen=True)
class Asked:
    """What somebody wants of a step beside the training."""

    stop: bool
    """By a signal: save and end."""
    save: bool
    """By `run_dir/save`."""
    failed: bool
    """By a checkpoint that could not be written: end."""


@dataclass(frozen=True)
class Task:
    """What is trained on what."""

    batches: StepBatches
    parts_of: Callable[[Any, Any], dict[str, Tensor]]
    """(engine, batch) -> this rank's part of the step's `loss`, and of what else its line of
    metrics shall say; the parts of all micro-steps and ranks add up."""
    names_of: Callable[[Any], list[str]]
    """The records of a batch, for messages."""
    flops_of: Callable[[int], float]
    """FLOPs of a step's forward and backward passes over all ranks."""
    evaluate: Callable[[Any], dict[str, float]] | None
    """What the engine's model as it is comes to on the validation data, found by all ranks:
    `eval_loss`, and whatever else belongs into `metrics.jsonl`; None without such data."""
    sample: Callable[[Any], list[Sample]] | None
    """Answers of the engine's model as it is, made by all ranks; None where nothing is asked."""
    looks_first: bool
    """Whether a new run evaluates and asks its model before the first step as well."""


@dataclass(frozen=True)
class Course:
    """What stays the same from a process's first step to its last."""

    engine: Any
    task: Task
    plan: Plan
    config: RunConfig
    ranks: Ranks
    metrics: Metrics


def fit(course: Course, start: RunState, architecture: dict[str, Any], stop: StopRequest) -> None:
    """Train from `start` to `plan.stop_step`, with metrics and checkpoints on the way.

    Raises `InputError` before the update where the loss is not finite, and `Preempted` after a save
    when a signal asked any rank to stop. `run_dir/save`, once it is there, has the next step saved.
    """
    plan, config, ranks, metrics = course.plan, course.config, course.ranks, course.metrics
    loop, state, saved_step = config.train, start, start.step

    def save() -> None:
        # Decided without a look at the disk, which may look different from another host.
        nonlocal saved_step
        if state.step != saved_step:
            ranks.progress.at("save")
            saver.save(state)
            saved_step = state.step

    def write_saves() -> None:
        for report in saver.reports():
            metrics.write({"step": state.step, **report})

    with closing(metrics), Saver(course.engine, architecture, config, ranks) as saver:
        if course.task.looks_first and state.step == 0:
            _look(course, 0)
        while state.step < plan.stop_step:
            line, asked = _train_step(course, state.step, stop, saver)
            state = replace(state, step=state.step + 1)
            done = state.step == plan.stop_step
            if state.step % loop.log_every_steps == 0 or done:
                metrics.write(line)
            write_saves()
            if _is_due(state.step, loop.eval_every_steps) or done:
                eval_loss = _look(course, state.step)
                if state.is_bettered_by(eval_loss):
                    state = replace(state, best_step=state.step, best_eval_loss=eval_loss)
                    save()
            if _is_due(state.step, loop.save_every_steps) or done or asked.stop or asked.save:
                save()
            if asked.stop or done:
                saver.finish()
                write_saves()
            if asked.stop and not done:
                raise Preempted(f"saved step {state.step}; the same command resumes there")


def _look(course: Course, step: int) -> float:
    """Ask and evaluate the model as it is after `step`; its evaluation loss, infinite where there
    are no data for one."""
    task, ranks = course.task, course.ranks
    if task.sample:
        ranks.progress.at("samples")
        samples = task.sample(course.engine)
        if ranks.rank == 0:  # before the line that a tracker is waiting for
            store_samples(Path(course.config.run_dir), step, samples)
    if task.evaluate is None:
        return math.inf
    found = task.evaluate(course.engine)
    course.metrics.write({"step": step, **found})
    return found["eval_loss"]


def _train_step(
    course: Course, step: int, stop: StopRequest, saver: Saver
) -> tuple[dict[str, Any], Asked]:
    """One optimizer step; its line of metrics, and what is asked for on any rank."""
    began = time.perf_counter()
    engine, task, plan, ranks = course.engine, course.task, course.plan, course.ranks
    progress = ranks.progress
    progress.step = step + 1
    progress.at("waiting for data")
    rate = learning_rate(
        step,
        kind=course.config.schedule.kind,
        peak=course.config.optim.lr,
        warmup_steps=plan.warmup_steps,
        total_steps=plan.total_steps,
    )
    engines.set_learning_rate(engine, rate)
    measured, batches, waited = _micro_steps(course, step)
    progress.at("adding the loss up")
    here = Asked(stop.received, saver.is_asked_for, saver.has_failed)
    totals, asked = _agree(course, step, measured, batches, here)
    if asked.failed:
        saver.fail()
    progress.at("update")
    saver.wait_until_copied()
    norm = engines.step(engine)
    if not math.isfinite(norm) or norm < 0:  # DeepSpeed says -1 where it met inf or NaN
        raise InputError(
            f"the gradient of step {step + 1} is not finite although its loss is; nothing is saved "
            "after that. Lower optim.lr, and start again from the last checkpoint"
        )
    seconds = time.perf_counter() - began
    tokens = task.batches.tokens(step)
    peak = peak_flops(ranks.device)
    return {
        "step": step + 1,
        "epoch": (step + 1) / task.batches.steps_per_epoch,
        **totals,
        "learning_rate": rate,
        "grad_norm": norm,
        "target_tokens": task.batches.target_tokens(step),
        "tokens": tokens,
        "tokens_per_second_per_device": tokens / seconds / ranks.world_size,
        "mfu": peak and task.flops_of(step) / seconds / ranks.world_size / peak,
        "memory_bytes": peak_memory_bytes(ranks.device),
        "data_seconds": waited,
        "step_seconds": seconds,
    }, asked


def _micro_steps(course: Course, step: int) -> tuple[list[dict[str, Tensor]], list[Any], float]:
    """Forward and backward passes of a step: the parts of each, their batches, and the seconds that
    they have waited for data."""
    engine, task, progress = course.engine, course.task, course.ranks.progress
    micro_batches, n = task.batches.micro_batches(step), task.batches.micro_steps(step)
    measured: list[dict[str, Tensor]] = []
    batches: list[Any] = []
    waited = 0.0
    for micro_step in range(n):
        progress.at("waiting for data")
        waits = time.perf_counter()
        batch = next(micro_batches)
        waited += time.perf_counter() - waits
        engine.set_gradient_accumulation_boundary(micro_step == n - 1)
        progress.at("forward pass")
        parts = task.parts_of(engine, batch)
        progress.at("backward pass")
        # DeepSpeed averages gradients over the ranks, while the parts of our loss add up.
        engine.backward(parts["loss"] * course.ranks.world_size)
        measured.append({name: part.detach() for name, part in parts.items()})
        batches.append(batch)
    return measured, batches, waited


def _agree(
    course: Course,
    step: int,
    measured: list[dict[str, Tensor]],
    batches: list[Any],
    here: Asked,
) -> tuple[dict[str, float], Asked]:
    """What the parts of the step, `measured` by micro-step, come to over all ranks, and what is
    asked for on any of them if `here` is on this one; one collective.

    It comes before the update, so that a loss that is not finite never reaches the weights.
    """
    ranks = course.ranks
    names = list(measured[0])
    values = _sums(measured)
    is_bad = not all(math.isfinite(value) for value in values)
    culprits = [0.0] * ranks.world_size
    culprits[ranks.rank] = float(is_bad)
    flags = [float(flag) for flag in astuple(here)]
    summed = sum_over_ranks(
        [*flags, *([0.0] * len(values) if is_bad else values), *culprits], ranks
    )
    asked = Asked(*(flag > 0 for flag in summed[: len(flags)]))
    totals, culprits = summed[len(flags) :][: len(names)], summed[len(flags) + len(names) :]
    if any(culprits):
        first = next(rank for rank, bad in enumerate(culprits) if bad)
        records = [name for batch in batches for name in course.task.names_of(batch)]
        more = f" and {len(records) - 8} more" if len(records) > 8 else ""
        shown = ", ".join(records[:8]) + more
        # That rank knows the records; all end with its words, whichever of them reports first.
        message = [
            f"the loss of step {step + 1} on rank {first} is not finite ({values[0]}); nothing "
            f"was updated. Its records: {shown}. Look at them, or lower optim.lr"
        ]
        dist.broadcast_object_list(message, first)
        raise InputError(message[0])
    return dict(zip(names, totals, strict=True)), asked


@torch.no_grad()
def evaluation(
    engine: Any,
    parts_of: Callable[[Any, Any], dict[str, Tensor]],
    batches: Iterator[Any],
    ranks: Ranks,
) -> dict[str, float]:
    """`eval_loss` and so on: what the parts of all batches of all ranks add up to."""
    engine.eval()
    measured = []
    for batch in batches:
        ranks.progress.at("evaluation")
        measured.append(parts_of(engine, batch))
    engine.train()
    totals = sum_over_ranks(_sums(measured), ranks)
    return {f"eval_{name}": total for name, total in zip(measured[0], totals, strict=True)}


def _sums(measured: list[dict[str, Tensor]]) -> list[float]:
    """The sum of each part; all are brought from the device in one go."""
    parts = torch.stack([torch.stack(list(part.values())).double() for part in measured])
    return parts.sum(0).tolist()


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
