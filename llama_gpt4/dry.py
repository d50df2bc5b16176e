"""`llama-gpt4 train train.dry=true`: what a run would do, without its GPUs and without doing it.

Real are the configuration, the data (tokenised into the cache, as a start would), the batches of
the first step at the run's number of processes, the schedule, and DeepSpeed: process 0 builds its
engine at that number and takes a step with it, in a group whose other members are made up, around a
narrow stand-in of the model with the reference operators. The model itself has shapes only.
"""

import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llama_gpt4.architecture import LlamaConfig, from_hugging_face, n_parameters
from llama_gpt4.compose import require_consistent, training_config
from llama_gpt4.config import TrainConfig
from llama_gpt4.examples import Prepared, report_lines
from llama_gpt4.prepare import prepare
from llama_gpt4.program import run_program
from llama_gpt4.room import require_room
from llama_gpt4.schedule import Plan, learning_rate, plan_steps

if TYPE_CHECKING:
    from llama_gpt4.loop import Task
    from llama_gpt4.ranks import Ranks

HEAD_SIZE = 4
"""Of the stand-in, which has as many heads as the model, and one layer."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    return run_program("train", lambda report: run(training_config(arguments)))


def run(config: TrainConfig) -> None:
    """Print all of it; `InputError` where the run would not start."""
    processes = int(os.environ.get("WORLD_SIZE") or config.launch.processes or 1)
    require_consistent(config, processes)
    prepared = prepare(config)
    print("dry run: no process is started, nothing is trained, and no run directory is written")
    print(*report_lines(prepared), sep="\n", flush=True)
    with made_up_group(processes) as ranks:
        _report(config, prepared, ranks)


def _report(config: TrainConfig, prepared: Prepared, ranks: "Ranks") -> None:
    import torch

    from llama_gpt4 import train
    from llama_gpt4.checkpoint import saved_steps
    from llama_gpt4.deepspeed_config import deepspeed_config
    from llama_gpt4.run import start_line

    # Without what may not run here.
    plain = replace(config, model=replace(config.model, kernels="reference", attention="sdpa"))
    run_dir = Path(config.run_dir)
    start = max(saved_steps(run_dir), default=0)
    has_gpus = torch.cuda.is_available() if config.launch.device == "auto" else None
    device = "cpu" if config.launch.device == "cpu" or has_gpus is False else "cuda"
    shown = replace(ranks, device=torch.device(device))
    subject = train.subject(plain, prepared, ranks)
    architecture, task = from_hugging_face(subject.described), subject.task
    plan = plan_steps(config, task.batches.steps_per_epoch)
    print(start_line(config, subject, plan, shown, start))
    print(*_plan_lines(config, plan), sep="\n")
    print(*_model_lines(config, architecture, ranks.world_size), sep="\n")
    settings = deepspeed_config(config, architecture.hidden_size, ranks.world_size)
    print(f"DeepSpeed's configuration: {json.dumps(settings, indent=1)}", flush=True)
    print(_step(plain, architecture, task, ranks))
    print(f"run directory {run_dir}", flush=True)
    # Last: it is about this host's disk, and the rest is true elsewhere as well.
    require_room(replace(config, run_dir=_nearest_folder(run_dir)), subject.n_parameters)


def _plan_lines(config: TrainConfig, plan: Plan) -> Iterator[str]:
    def rate(step: int) -> float:
        return learning_rate(
            step - 1,
            kind=config.schedule.kind,
            peak=config.optim.lr,
            warmup_steps=plan.warmup_steps,
            total_steps=plan.total_steps,
        )

    last = plan.stop_step
    steps = sorted({1, min(last, plan.warmup_steps + 1), max(1, last // 2), last})
    yield "learning rate: " + ", ".join(f"{rate(step):.3g} at step {step}" for step in steps)
    evaluates, saves = config.train.eval_every_steps, config.train.save_every_steps
    validates = config.data.validation.files or config.data.validation.share
    yield (
        f"saves {_every(saves)}, keeps {config.train.keep_checkpoints}; "
        + (f"evaluates {_every(evaluates)}" if validates else "evaluates on nothing")
    )


def _every(steps: int) -> str:
    return f"every {steps} steps and at the end" if steps else "at the end"


def _model_lines(config: TrainConfig, architecture: LlamaConfig, processes: int) -> Iterator[str]:
    """The model's shapes, from the module itself, built without values."""
    import torch
    from llama_gpt4_kernels.reference import REFERENCE

    from llama_gpt4.model import Llama

    with torch.device("meta"):
        model = Llama(architecture, REFERENCE, config.model.recompute)
    sizes = [parameter.numel() for parameter in model.parameters()]
    assert sum(sizes) == n_parameters(architecture), "the planned count is the model's"
    writers = processes if config.zero.stage else 1
    per_process = sum(-(-n // processes) for n in sizes) if config.zero.stage == 3 else sum(sizes)
    yield (
        f"model: {len(sizes)} parameter tensors, {sum(sizes):,} values; a process keeps "
        f"{per_process:,} of them in {config.precision.dtype}; a checkpoint has "
        f"{12 * sum(sizes) / 1e9:,.2f} GB, written from {12 * sum(sizes) / writers / 1e9:,.2f} GB "
        "of a process's host memory. `llama-gpt4 plan` says memory and time on GPUs"
    )


def _step(config: TrainConfig, architecture: LlamaConfig, task: "Task", ranks: "Ranks") -> str:
    """Process 0's part of the first step, by a DeepSpeed engine of that many processes."""
    from llama_gpt4 import engine as engines
    from llama_gpt4.weights import RandomWeights

    narrow = replace(
        architecture,
        n_layers=1,
        head_size=HEAD_SIZE,
        hidden_size=architecture.n_heads * HEAD_SIZE,
        feed_forward_size=2 * architecture.n_heads * HEAD_SIZE,
    )
    engine = engines.build_engine(config, narrow, RandomWeights(narrow, config.seed), ranks)
    n, tokens = task.batches.micro_steps(0), 0
    for micro_step, batch in enumerate(task.batches.micro_batches(0)):
        engine.set_gradient_accumulation_boundary(micro_step == n - 1)
        engine.backward(task.parts_of(engine, batch)["loss"] * ranks.world_size)
        tokens += len(batch.tokens)
    engines.step(engine)
    return (
        f"step 1 went through DeepSpeed as process 0 of {ranks.world_size}, with a stand-in of "
        f"{n_parameters(narrow):,} parameters: {tokens:,} of {task.batches.tokens(0):,} tokens, "
        f"micro-steps: {n}"
    )


@contextmanager
def made_up_group(processes: int) -> Iterator["Ranks"]:
    """A process group of which only rank 0 is there; its collectives return at once."""
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(processes)}
    os.environ["DS_ACCELERATOR"] = "cpu"
    import torch
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from llama_gpt4.ranks import Ranks

    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    dist.init_process_group("fake", rank=0, world_size=processes, store=FakeStore())
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    try:
        yield Ranks(0, 0, processes, processes, torch.device("cpu"), "here")
    finally:
        dist.destroy_process_group()


def _nearest_folder(path: Path) -> str:
    """`path`, or the folder above it that is there already."""
    return str(next(folder for folder in (path, *path.parents) if folder.is_dir()))


if __name__ == "__main__":
    sys.exit(main())
