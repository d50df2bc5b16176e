"""Checkpoints: tensors and JSON, one file a rank, readable at any world size and ZeRO stage.

`checkpoints/step-<n>/rank-<r>.safetensors` holds, for each parameter that rank r has a range of,
`<name>:<start>:master`, `…:exp_avg` and `…:exp_avg_sq` as flat float32. `manifest.json` names every
file with its SHA-256, the parameters' shapes and the run's state. A folder gets its name by a
rename after everything in it is on the disk (`publication.py`), so a folder with that name is
complete. `saver.py` writes them; here they are found and read.
"""

import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from llama_gpt4 import safetensors_file, zero_state
from llama_gpt4.errors import InputError
from llama_gpt4.publication import remove_unfinished, saved_steps, set_aside, step_folder
from llama_gpt4.ranks import Ranks, from_all, from_rank_zero

log = logging.getLogger(__name__)

SIZES = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "vocab_size",
)  # fmt: skip
"""Keys of a config.json that tell models apart."""

SEEN_SECONDS = 60.0
"""How long an NFS client may go on with what it knew of a folder (`acdirmax`)."""


@dataclass(frozen=True)
class RunState:
    """All that a run needs beside weights and moments. The loader's place and the learning rate are
    functions of the step, and so is all that is drawn: there is no generator whose state counts."""

    step: int
    """Optimizer steps done."""
    data_fingerprint: str
    """Hash of the training tokens: another one means other data under the same configuration."""
    best_step: int | None = None
    """The step with the lowest evaluation loss so far, whose checkpoint stays."""
    best_eval_loss: float | None = None
    wandb_id: str | None = None
    """W&B's run."""

    def is_bettered_by(self, eval_loss: float) -> bool:
        """Whether `eval_loss` is the lowest so far; NaN never is."""
        return eval_loss < (math.inf if self.best_eval_loss is None else self.best_eval_loss)


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

    def difference(self, architecture: dict[str, Any]) -> str:
        """In which size the model is another one than that of `architecture`; empty: in none."""
        mine = self.architecture
        for key in SIZES:
            if key in mine and key in architecture and mine[key] != architecture[key]:
                return f"{key}={mine[key]} and not {architecture[key]}"
        return ""

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


def last_good(run_dir: Path, ranks: Ranks, architecture: dict[str, Any]) -> Checkpoint | None:
    """The newest checkpoint of this model, whose config.json is `architecture`, that every rank
    finds intact. What is skipped on the way is said in the log and set aside; where there are only
    checkpoints of other models, `InputError`."""
    if ranks.rank == 0:
        remove_unfinished(run_dir)
    others: list[int] = []
    found: Checkpoint | str | None = None
    while (step := _newest_but(others, run_dir, ranks)) is not None:
        folder = step_folder(run_dir, step)
        found = _examined(folder, ranks)
        if isinstance(found, str):
            log.warning("skipping %s: %s", folder, found)
            if ranks.rank == 0:
                set_aside(folder)
            dist.barrier()
        elif difference := found.difference(architecture):
            log.warning("skipping %s: it is of another model, %s", folder, difference)
            others.append(step)
        else:
            if ranks.rank == 0:  # else the last of them would count as the newest one day
                for other in others:
                    set_aside(step_folder(run_dir, other))
            return found
    if others:
        raise InputError(
            f"the checkpoints in {run_dir} are of another model ({difference}), as one that was "
            "trained on other data: choose another run_dir, or bring the files back"
        )
    if found is not None:
        log.warning("no checkpoint in %s is intact: training begins anew", run_dir)
    return None


def _newest_but(skipped: list[int], run_dir: Path, ranks: Ranks) -> int | None:
    """As rank 0 sees it, on every rank."""
    steps = set(saved_steps(run_dir)) - set(skipped) if ranks.rank == 0 else set()
    step = from_rank_zero(max(steps, default=-1), ranks)
    return None if step < 0 else step


def _examined(folder: Path, ranks: Ranks) -> Checkpoint | str:
    """The checkpoint in `folder`, or the first rank's words why it is no good; on every rank."""
    manifest = folder / "manifest.json"
    if from_rank_zero(int(manifest.exists()), ranks):
        appears(manifest, SEEN_SECONDS)
    fault = ""
    try:
        checkpoint = Checkpoint(folder)
        if damaged := checkpoint.damaged_files(ranks.rank, ranks.world_size):
            fault = f"{damaged[0]} is damaged or missing"
    except InputError:
        fault = "manifest.json is missing, damaged or another version's"
    except OSError as error:
        fault = str(error)
    return next((fault for fault in from_all(fault, ranks) if fault), None) or checkpoint


def without_lost_best(state: RunState, run_dir: Path, ranks: Ranks) -> RunState:
    """`state`, which forgets its best step where that has no checkpoint any more."""
    is_there = ranks.rank == 0 and state.best_step in saved_steps(run_dir)
    if from_rank_zero(int(is_there), ranks):
        return state
    return replace(state, best_step=None, best_eval_loss=None)


def appears(path: Path, seconds: float) -> bool:
    """Wait for `path`: network file systems show another host's new file with some delay."""
    until = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def _copy_replicas(engine: Any) -> None:
    """Stage 0 in float32: rank 0 filled its copy, which is the model itself; the others get it."""
    optimizer = engine.optimizer
    for param in engine.module.parameters():
        dist.broadcast(param.data, 0)
        for kind in zero_state.MOMENTS:
            dist.broadcast(optimizer.state[param][kind], 0)
