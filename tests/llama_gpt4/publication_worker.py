"""Run by test_publication: two processes save step 2 where step 1 is, of which one is killed; for
each of both, once at each point that it comes to. Then what a start finds, and the next save.

Prints a line of JSON for each kill: who, where, which step was found, and whether all was right.
"""

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from faults import Points, kill_myself

from llama_gpt4 import checkpoint, publication
from llama_gpt4.errors import InputError
from llama_gpt4.publication import Kept
from llama_gpt4.ranks import Ranks
from llama_gpt4.safetensors_file import Outgoing
from llama_gpt4.zero_state import Range

N = 1000
DESCRIBED: dict[str, Any] = {"architecture": {"hidden_size": 8}, "shapes": {"weight": [2 * N]}}


def values(step: int) -> torch.Tensor:
    """The whole parameter, as of a step."""
    return torch.arange(2 * N, dtype=torch.float32) + 7 * step


def save_as(rank: int, run_dir: Path, step: int) -> None:
    """What a rank's thread does for a save."""
    folder, start = publication.step_folder(run_dir, step), rank * N
    part = values(step)[start : start + N]
    tensors = [
        Outgoing(f"weight:{start}:{kind}", torch.float32, (N,), [part])
        for kind in ("master", "exp_avg", "exp_avg_sq")
    ]
    publication.write_part(folder, rank, tensors, [Range("weight", start, N)])
    if rank == 0:
        state = {"step": step, "data_fingerprint": ""}
        described = {"state": state, **DESCRIBED}
        publication.publish(folder, described, 2, 600.0, threading.Event())
        publication.remove_old(run_dir, Kept(n=1, n_bytes=None, best_step=None))


def child(rank: int, run_dir: Path, fatal: int) -> int:
    """A process that saves step 2 as `rank`, and dies at its point `fatal`; its id."""
    pid = os.fork()
    if pid == 0:
        Points(run_dir, fatal, kill_myself).install()
        save_as(rank, run_dir, 2)
        os._exit(0)
    return pid


def kill_one(victim: int, fatal: int, run_dir: Path) -> bool:
    """Whether the victim came to that point."""
    dying = child(victim, run_dir, fatal)
    other = child(1 - victim, run_dir, -1)
    is_killed = os.waitpid(dying, 0)[1] == signal.SIGKILL
    if is_killed and victim == 1:  # rank 0 waits for it; the launcher ends that
        os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    return is_killed


def is_right(found: checkpoint.Checkpoint) -> bool:
    whole = torch.empty(2 * N)
    for kind in ("master", "exp_avg", "exp_avg_sq"):
        found.fill("weight", 0, whole, kind)
        if not torch.equal(whole, values(found.state.step)):
            return False
    return True


def is_whole(folder: Path) -> bool:
    try:
        return checkpoint.Checkpoint(folder).damaged_files() == []
    except InputError:
        return False


def main(folder: Path) -> None:
    before = folder / "before"
    for rank in (1, 0):
        save_as(rank, before, 1)
    points = []
    for victim in (0, 1):
        for fatal in range(1000):
            run_dir = folder / f"{victim}-{fatal}"
            shutil.copytree(before, run_dir)
            if not kill_one(victim, fatal, run_dir):
                break
            points.append((victim, fatal, run_dir))
    dist.init_process_group(
        "gloo", store=dist.FileStore(f"{folder}/store", 1), rank=0, world_size=1
    )
    ranks = Ranks(0, 0, 1, 1, torch.device("cpu"), "host")
    for victim, fatal, run_dir in points:
        names = sorted(os.listdir(run_dir / "checkpoints"))
        steps = publication.saved_steps(run_dir)
        whole = all(is_whole(publication.step_folder(run_dir, step)) for step in steps)
        found = checkpoint.last_good(run_dir, ranks, DESCRIBED["architecture"])
        step = found.state.step if found else None
        right = found is not None and is_right(found)
        for rank in (1, 0):
            save_as(rank, run_dir, 3)
        after = sorted(os.listdir(run_dir / "checkpoints"))
        line = {"victim": victim, "point": fatal, "names": names, "step": step, "right": right}
        print(json.dumps({**line, "whole": whole, "after": after}))


main(Path(sys.argv[1]))
sys.stdout.flush()
os._exit(0)
