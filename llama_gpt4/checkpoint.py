"""Checkpoints: tensors and JSON, one file a rank, readable at any world size and ZeRO stage.

`checkpoints/step-<n>/rank-<r>.safetensors` holds, for each parameter that rank r has a range of,
`<name>:<start>:master`, `…:exp_avg` and `…:exp_avg_sq` as flat float32. `manifest.json` names every
file with its SHA-256, the parameters' shapes and the run's state. A folder gets its name by a
rename after everything in it is on the disk, so a folder with that name is complete.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from llama_gpt4 import safetensors_file, zero_state
from llama_gpt4.errors import InputError
from llama_gpt4.ranks import Ranks, from_rank_zero, sum_over_ranks
from llama_gpt4.safetensors_file import Outgoing

log = logging.getLogger(__name__)

KINDS = ("master", *zero_state.MOMENTS)

SEEN_SECONDS = 60.0
"""How long an NFS client may go on with what it knew of a folder (`acdirmax`)."""


@dataclass(frozen=True)
class RunState:
    """All that a run needs beside weights and moments; the loader's place is the step itself."""

    step: int
    """Optimizer steps done."""
    data_fingerprint: str
    """Hash of the training tokens: another one means other data under the same configuration."""


def save(
    engine: Any, state: RunState, architecture: dict[str, Any], folder: Path, ranks: Ranks
) -> None:
    """Write `folder`, which must not exist yet, as a whole or not at all.

    `architecture` is the model's config.json.
    """
    partial = folder.with_name(folder.name + ".partial")
    if ranks.rank == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    dist.barrier()
    name = f"rank-{ranks.rank:05d}.safetensors"
    tensors, ranges = [], []
    for fragment in zero_state.fragments(engine):
        n = fragment.master.numel()
        ranges.append([fragment.name, fragment.start, n])
        for kind, values in {"master": fragment.master, **fragment.moments}.items():
            key = f"{fragment.name}:{fragment.start}:{kind}"
            tensors.append(Outgoing(key, torch.float32, (n,), [values]))
    digest = safetensors_file.write_file(partial / name, tensors)
    _write_json(partial / f"{name}.json", {"sha256": digest, "ranges": ranges})
    dist.barrier()
    if ranks.rank == 0:
        described = {
            "state": asdict(state),
            "architecture": architecture,
            "shapes": zero_state.shapes(engine),
        }
        _publish(partial, folder, described, ranks.world_size)
    dist.barrier()


def _publish(partial: Path, folder: Path, described: dict[str, Any], world_size: int) -> None:
    files = {}
    for rank in range(world_size):
        name = f"rank-{rank:05d}.safetensors"
        files[name] = json.loads((partial / f"{name}.json").read_text())
        (partial / f"{name}.json").unlink()
    _write_json(partial / "manifest.json", {**described, "files": files})
    _sync_folder(partial)
    partial.rename(folder)
    _sync_folder(folder.parent)


class Checkpoint:
    """A published checkpoint; any slice of any parameter can be read from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            self.state = RunState(**manifest["state"])
            self.architecture: dict[str, Any] = manifest["architecture"]
            self.shapes: dict[str, tuple[int, ...]] = {
                name: tuple(shape) for name, shape in manifest["shapes"].items()
            }
            """Of every parameter, in the model's order."""
            self._files: dict[str, Any] = manifest["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} is no complete checkpoint (manifest.json: {error}): name another step"
            ) from error
        self._ranges: dict[str, list[tuple[int, int, Path]]] = {}
        for name, file in self._files.items():
            for parameter, start, n in file["ranges"]:
                self._ranges.setdefault(parameter, []).append((start, n, folder / name))
        self._entries: dict[Path, dict[str, safetensors_file.Entry]] = {}

    def fill(self, name: str, start: int, target: Tensor, kind: str = "master") -> None:
        """Fill `target` (n,) with elements `start … start + n` of the flattened parameter."""
        stop, filled = start + target.numel(), 0
        for begin, n, path in self._ranges.get(name, []):
            low, high = max(start, begin), min(stop, begin + n)
            if low < high:
                entry = self._file_entries(path)[f"{name}:{begin}:{kind}"]
                safetensors_file.copy_slice(entry, low - begin, target[low - start : high - start])
                filled += high - low
        if filled != target.numel():
            raise InputError(f"{self.folder} lacks a part of {name}: it is of another model")

    def pieces(self, name: str, numel: int) -> Iterator[Tensor]:
        """The flattened master weights of a parameter, a few megabytes at a time."""
        step = safetensors_file.CHUNK_BYTES // 4
        for start in range(0, numel, step):
            piece = torch.empty(min(step, numel - start), dtype=torch.float32)
            self.fill(name, start, piece)
            yield piece

    def damaged_files(self, share: int = 0, shares: int = 1) -> list[str]:
        """Files of this caller's share whose bytes are not those that were written."""
        mine = sorted(self._files)[share::shares]
        return [name for name in mine if not self._is_intact(name)]

    def _is_intact(self, name: str) -> bool:
        path = self.folder / name
        return path.exists() and safetensors_file.file_sha256(path) == self._files[name]["sha256"]

    def _file_entries(self, path: Path) -> dict[str, safetensors_file.Entry]:
        if path not in self._entries:
            self._entries[path] = safetensors_file.read_entries(path)
        return self._entries[path]


def restore(engine: Any, checkpoint: Checkpoint) -> None:
    """Master weights and moments of the checkpoint into the engine, each rank its own ranges.

    The weights in training precision were already read from it when the engine was built.
    """
    zero_state.create_moments(engine, checkpoint.state.step)
    for fragment in zero_state.fragments(engine):
        for kind, values in {"master": fragment.master, **fragment.moments}.items():
            checkpoint.fill(fragment.name, fragment.start, values, kind)
    if zero_state.is_replicated(engine):
        _copy_replicas(engine)


def last_good(run_dir: Path, ranks: Ranks) -> Checkpoint | None:
    """The newest checkpoint that every rank finds intact; what is skipped is said in the log."""
    while True:
        steps = saved_steps(run_dir) if ranks.rank == 0 else []
        step = from_rank_zero(steps[-1] if steps else -1, ranks)
        if step < 0:
            return None
        folder = step_folder(run_dir, step)
        manifest = folder / "manifest.json"
        if from_rank_zero(int(manifest.exists()), ranks):
            appears(manifest, SEEN_SECONDS)
        fault = ""
        try:
            checkpoint = Checkpoint(folder)
            damaged = checkpoint.damaged_files(ranks.rank, ranks.world_size)
            fault = f"{damaged[0]} is damaged or missing" if damaged else ""
        except (InputError, OSError) as error:
            fault = str(error)
        if sum_over_ranks([float(bool(fault))], ranks)[0] == 0:
            return checkpoint
        if fault:
            log.warning("skipping %s: %s", folder, fault)
        if ranks.rank == 0:
            aside = folder.with_name(folder.name + ".damaged")
            shutil.rmtree(aside, ignore_errors=True)  # of an earlier time: one copy is enough
            folder.rename(aside)
        dist.barrier()


def appears(path: Path, seconds: float) -> bool:
    """Wait for `path`: network file systems show another host's new file with some delay."""
    until = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def saved_steps(run_dir: Path) -> list[int]:
    """Steps of the published checkpoints, oldest first."""
    names = [path.name for path in (run_dir / "checkpoints").glob("step-*") if path.is_dir()]
    return sorted(int(name[5:]) for name in names if name[5:].isdigit())


def step_folder(run_dir: Path, step: int) -> Path:
    return run_dir / "checkpoints" / f"step-{step}"


def remove_old(run_dir: Path, keep: int, best_step: int | None) -> None:
    """Delete all but the newest `keep` checkpoints and the best one."""
    for step in saved_steps(run_dir)[:-keep]:
        if step != best_step:
            shutil.rmtree(step_folder(run_dir, step))


def _copy_replicas(engine: Any) -> None:
    """Stage 0 in float32: rank 0 filled its copy, which is the model itself; the others get it."""
    optimizer = engine.optimizer
    for param in engine.module.parameters():
        dist.broadcast(param.data, 0)
        for kind in zero_state.MOMENTS:
            dist.broadcast(optimizer.state[param][kind], 0)


def _write_json(path: Path, content: Any) -> None:
    with open(path, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
