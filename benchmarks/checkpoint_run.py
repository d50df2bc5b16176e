"""One rank of `checkpoint.py`: trains, saves in each way in turn, and prints a JSON line a save."""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from llama_gpt4 import engine as engines
from llama_gpt4 import zero_state
from llama_gpt4.architecture import from_sizes, n_parameters
from llama_gpt4.checkpoint import RunState
from llama_gpt4.compose import compose_training
from llama_gpt4.program import end_at_once
from llama_gpt4.ranks import join, leave, sum_over_ranks
from llama_gpt4.saver import Saver
from llama_gpt4.weights import RandomWeights

TOKENS, TARGETS, VOCAB_SIZE = 128, 16, 32000
CLEAN_STEPS = 3


class Trainer:
    """Steps of a LLaMA under ZeRO-3, on the same made-up tokens."""

    def __init__(self, folder: Path, overrides: list[str]) -> None:
        keys = [f"run_dir={folder}", "launch.device=cpu", "zero=stage3", "train.keep_checkpoints=1"]
        self.config = compose_training([*keys, *overrides])
        self.ranks = join(self.config.launch)
        architecture = from_sizes(self.config.model, VOCAB_SIZE)
        self.n_parameters = n_parameters(architecture)
        weights = RandomWeights(architecture, 0)
        self.engine = engines.build_engine(self.config, architecture, weights, self.ranks)
        engines.set_learning_rate(self.engine, 1e-5)
        self._tokens = torch.randint(VOCAB_SIZE, (TOKENS,), generator=torch.Generator())

    def step(self, before_update: Callable[[], None] = lambda: None) -> None:
        """One optimizer step; `before_update` is called where the loop waits for a save."""
        rows = torch.arange(TARGETS)
        loss = self.engine(
            self._tokens,
            torch.arange(TOKENS),
            (TOKENS,),
            rows,
            self._tokens[rows + 1],
            torch.ones(TARGETS) / TARGETS,
        )
        self.engine.backward(loss)
        sum_over_ranks([0.0], self.ranks)  # as the loop does in every step
        before_update()
        engines.step(self.engine)


@dataclass
class Save:
    """What a save in one way came to on this rank."""

    stall_seconds: float = 0.0
    """In which the thread that trains waited."""
    total_seconds: float = 0.0
    """Until all is on the disk under its name."""
    began: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.stall_seconds += time.perf_counter() - began

    def is_done(self) -> None:
        self.total_seconds = time.perf_counter() - self.began


class Ours:
    """`llama_gpt4.saver`, called as the loop calls it."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self._trainer = trainer
        self._saver = Saver(trainer.engine, {}, trainer.config, trainer.ranks)
        self._step = 0

    def save(self) -> Save:
        """Begin; the stall so far is in what it gives."""
        save, self._step = Save(), self._step + 1
        with save.stalled():
            self._saver.save(RunState(self._step, ""))
        return save

    def before_update(self, save: Save) -> None:
        """Wait as the loop does."""
        with save.stalled():
            self._saver.wait_until_copied()

    def is_done(self, save: Save) -> bool:
        """Whether all of it is on the disk; rank 0 knows."""
        reports = self._saver.reports()
        if reports:
            save.total_seconds = reports[0]["save_seconds"]
        return bool(save.total_seconds) or self._trainer.ranks.rank > 0

    def close(self, save: Save) -> None:
        """Wait for the last one."""
        self._saver.finish()


class DeepSpeed:
    """`engine.save_checkpoint`; what it has written is brought to the disk afterwards, which counts
    for the total and not as a stall."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self._trainer, self._folder = trainer, folder / "deepspeed"

    def save(self) -> Save:
        """Save, then sync the files."""
        save = Save()
        with save.stalled():
            self._trainer.engine.save_checkpoint(str(self._folder), tag="now")
        if self._trainer.ranks.rank == 0:
            sync_files(self._folder)
        dist.barrier()
        save.is_done()
        return save

    def before_update(self, save: Save) -> None:
        pass

    def is_done(self, save: Save) -> bool:
        return True

    def close(self, save: Save) -> None:
        dist.barrier()
        if self._trainer.ranks.rank == 0:
            shutil.rmtree(self._folder)


class Dcp:
    """`torch.distributed.checkpoint.async_save` of the same tensors, its staging memory kept and
    its plan cached."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self._trainer, self._folder = trainer, folder / "dcp"
        self._group = dist.new_group(backend="gloo")
        self._stager = DefaultStager(StagingOptions(False, False, False, False))
        self._planner = dcp.DefaultSavePlanner(enable_plan_caching=True)
        self._future: Any = None

    def save(self) -> Save:
        """Begin; a future ends it."""
        save = Save()
        with save.stalled():
            state = {
                f"{part.name}:{part.start}:{kind}": values
                for part in zero_state.fragments(self._trainer.engine)
                for kind, values in {"master": part.master, **part.moments}.items()
            }
            self._future = dcp.async_save(
                state,
                checkpoint_id=str(self._folder),
                process_group=self._group,
                async_stager=self._stager,
                planner=self._planner,
            )
        self._future.add_done_callback(lambda future: save.is_done())
        return save

    def before_update(self, save: Save) -> None:
        pass

    def is_done(self, save: Save) -> bool:
        return self._future.done()

    def close(self, save: Save) -> None:
        self._future.result()
        dist.barrier()
        if self._trainer.ranks.rank == 0:
            shutil.rmtree(self._folder)


WAYS: dict[str, Any] = {"ours": Ours, "deepspeed": DeepSpeed, "dcp": Dcp}


def measure(trainer: Trainer, way: Any) -> dict[str, float]:
    """Steps without a save, then one save and steps until it is done; the worst of all ranks."""
    os.sync()
    clean = []
    for _ in range(CLEAN_STEPS):
        dist.barrier()
        began = time.perf_counter()
        trainer.step()
        clean.append(time.perf_counter() - began)
    forget_peak()
    dist.barrier()
    began, steps = time.perf_counter(), 0
    save = way.save()
    while True:
        trainer.step(lambda: way.before_update(save))
        steps += 1
        if sum_over_ranks([float(not way.is_done(save))], trainer.ranks)[0] == 0:
            break
    lost = time.perf_counter() - began - steps * median(clean)
    peak = memory_bytes("VmHWM")
    way.close(save)
    found = torch.tensor([save.stall_seconds, save.total_seconds, lost, peak], dtype=torch.float64)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    names = ("stall_seconds", "total_seconds", "lost_seconds", "peak_bytes")
    return {**dict(zip(names, found.tolist(), strict=True)), "step_seconds": median(clean)}


def forget_peak() -> None:
    """Let `VmHWM` be the peak from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def memory_bytes(key: str) -> int:
    """What `/proc` has under `key` for this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def sync_files(folder: Path) -> None:
    """`fsync` of every file below a folder."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--overrides", nargs="*", default=[])
    arguments = parser.parse_args()
    trainer = Trainer(arguments.folder, arguments.overrides)
    trainer.step()
    forget_peak()
    trainer.step()
    before = memory_bytes("VmHWM")
    ways = {name: WAYS[name](trainer, arguments.folder) for name in arguments.ways}
    for repeat in range(-1, arguments.repeats):  # the first of each is a warm-up
        for name, way in ways.items():
            found = measure(trainer, way)
            shown = {"way": name, "repeat": repeat, "before_bytes": before, **found}
            if trainer.ranks.rank == 0 and repeat >= 0:
                print(json.dumps({**shown, "n_parameters": trainer.n_parameters}), flush=True)
    leave()


if __name__ == "__main__":
    main()
    end_at_once(0)
