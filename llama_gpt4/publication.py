"""How a checkpoint comes to be on the disk, and goes: only files, so that no rank's training has a
part in it.

Each rank writes `step-<n>.partial/rank-<r>.safetensors` and then, by a rename, the same name with
`.json`: its SHA-256 and ranges, and the sign that the file is whole. Rank 0 waits for the signs of
all, makes `manifest.json` of them and renames the folder to `step-<n>`. Every file is on the disk
before its sign or the manifest that names it. A kill at any point leaves what was published before,
and a `.partial` folder that the next start removes.
"""

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_gpt4 import safetensors_file
from llama_gpt4.errors import InputError
from llama_gpt4.files import write_json
from llama_gpt4.safetensors_file import Outgoing
from llama_gpt4.zero_state import Range

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
"""How often rank 0 looks whether the others' files are there."""


@dataclass(frozen=True)
class Kept:
    """Which checkpoints stay when a new one is published: the new one, the best, and of the others
    the newest, within both limits."""

    n: int
    n_bytes: int | None
    """Of all together."""
    best_step: int | None


def step_folder(run_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step is, or will be."""
    return run_dir / "checkpoints" / f"step-{step}"


def saved_steps(run_dir: Path) -> list[int]:
    """Steps of the published checkpoints, oldest first."""
    names = [path.name for path in (run_dir / "checkpoints").glob("step-*") if path.is_dir()]
    return sorted(int(name[5:]) for name in names if name[5:].isdigit())


def write_part(folder: Path, rank: int, tensors: list[Outgoing], ranges: list[Range]) -> None:
    """This rank's file of the checkpoint that will be `folder`."""
    partial, name = _partial(folder), _part_name(rank)
    with _said_as_input_error(folder):
        partial.mkdir(parents=True, exist_ok=True)
        digest = safetensors_file.write_file(partial / name, tensors)
    described = {"sha256": digest, "ranges": [[part.name, part.start, part.n] for part in ranges]}
    write_json(partial / f"{name}.json", described)


def publish(
    folder: Path,
    described: dict[str, Any],
    world_size: int,
    seconds: float,
    cancelled: threading.Event,
) -> None:
    """Rank 0: give the checkpoint its name once the files of all ranks are there, for which it
    waits `seconds` at most, and until it is `cancelled`."""
    partial = _partial(folder)
    signs = {_part_name(rank): partial / f"{_part_name(rank)}.json" for rank in range(world_size)}
    until = time.monotonic() + seconds
    for name, sign in signs.items():
        while not sign.exists():
            if cancelled.wait(LOOK_SECONDS) or time.monotonic() > until:
                raise InputError(f"{folder} was not published: {name} of it has not come")
    with _said_as_input_error(folder):
        files = {name: json.loads(sign.read_text()) for name, sign in signs.items()}
        write_json(partial / "manifest.json", {**described, "files": files})
        for sign in signs.values():
            sign.unlink()
        sync_folder(partial)
        if folder.exists():  # this host did not see it when the run began
            set_aside(folder)
        partial.rename(folder)
        sync_folder(folder.parent)


def remove_old(run_dir: Path, kept: Kept) -> None:
    """Delete the oldest checkpoints beyond the limits."""
    steps = saved_steps(run_dir)
    n_bytes = {step: _bytes_of(step_folder(run_dir, step)) for step in steps}
    for step in steps[:-1]:
        is_new = step in steps[-kept.n :]
        is_room = kept.n_bytes is None or sum(n_bytes.values()) <= kept.n_bytes
        if step != kept.best_step and not (is_new and is_room):
            folder = step_folder(run_dir, step)
            with _said_as_input_error(folder, "removed"):
                folder.rename(_partial(folder))  # half of it is no checkpoint
                shutil.rmtree(_partial(folder))
            del n_bytes[step]


def remove_unfinished(run_dir: Path) -> None:
    """What saves and deletions that were cut off have left."""
    for partial in sorted((run_dir / "checkpoints").glob("step-*.partial")):
        log.warning("skipping %s: it was not written to its end; it is removed", partial)
        shutil.rmtree(partial)


def discard(folder: Path) -> None:
    """What there is of a checkpoint that could not be written."""
    shutil.rmtree(_partial(folder), ignore_errors=True)


def set_aside(folder: Path) -> None:
    """Keep a checkpoint that is no good for whoever wants to look, under another name."""
    aside = folder.with_name(folder.name + ".damaged")
    shutil.rmtree(aside, ignore_errors=True)  # of an earlier time: one copy is enough
    folder.rename(aside)


def sync_folder(folder: Path) -> None:
    """Let the names in `folder` be on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _partial(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")


def _part_name(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@contextmanager
def _said_as_input_error(folder: Path, what: str = "written") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder} cannot be {what}: {error.strerror or error}. The other checkpoints are as "
            "they were: make room, and the same command resumes from the last"
        ) from error
