"""Who this process is among all processes of a run, and how they talk.

The launcher says it in the environment (`RANK`, `WORLD_SIZE`, …), in the same variables for
`llama-gpt4 train`, `deepspeed` and `torchrun`; without a launcher it is a run of one process.
"""

import ctypes
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from llama_gpt4.config import LaunchConfig
from llama_gpt4.errors import InputError
from llama_gpt4.progress import Progress


@dataclass(frozen=True)
class Ranks:
    rank: int
    local_rank: int
    world_size: int
    processes_on_host: int
    device: torch.device
    host: str
    progress: Progress = field(default_factory=Progress, compare=False)


def join(config: LaunchConfig) -> Ranks:
    """Meet the other processes of the run; collective operations work from here on."""
    device = _device_type(config.device)
    # DeepSpeed decides on its accelerator at import time, so its import has to come after this.
    os.environ["DS_ACCELERATOR"] = device
    # Micro-batches differ in size, and memory that grows in place leaves no gaps between them.
    # PyTorch reads this when it first allocates; what is set under its old name counts more.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    for key, value in _SINGLE_PROCESS.items():
        os.environ.setdefault(key, value)
    local_rank = int(os.environ["LOCAL_RANK"])
    on_host = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)
    share_cores(on_host)
    if device == "cpu":
        _share_heap()

    # DeepSpeed calls collectives by names that torch 2.13 deprecates, once a layer and step.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    import deepspeed

    # This operator would be compiled on first use, and a run needs no compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    with _killable():
        deepspeed.init_distributed(
            dist_backend="nccl" if device == "cuda" else "gloo",
            timeout=timedelta(minutes=config.timeout_minutes),
            verbose=False,
        )
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    return Ranks(
        rank=dist.get_rank(),
        local_rank=local_rank,
        world_size=dist.get_world_size(),
        processes_on_host=on_host,
        device=torch.device(device, local_rank) if device == "cuda" else torch.device("cpu"),
        host=socket.gethostname(),
    )


def leave() -> None:
    """End the process group; what follows is one process's own work."""
    dist.destroy_process_group()


def sum_over_ranks(values: list[float], ranks: Ranks) -> list[float]:
    """Each of `values` summed over all ranks, in float64."""
    total = torch.tensor(values, dtype=torch.float64, device=ranks.device)
    dist.all_reduce(total)
    return total.tolist()


def from_rank_zero(value: int, ranks: Ranks) -> int:
    """Rank 0's `value`, on every rank."""
    shared = torch.tensor([value], dtype=torch.int64, device=ranks.device)
    dist.broadcast(shared, 0)
    return int(shared.item())


def from_all(value: str, ranks: Ranks) -> list[str]:
    """What each rank says, by rank."""
    said: list[Any] = [None] * ranks.world_size
    dist.all_gather_object(said, value)
    return said


def share_cores(processes: int) -> None:
    """Processes of one host share its cores, unless the user has said how many threads each gets;
    oversubscribed OpenMP threads spin against each other and cost several times the work."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // processes))


_SINGLE_PROCESS = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "0",
}


@contextmanager
def _killable() -> Iterator[None]:
    """Let SIGTERM end the process at once, as the system does. Python hears signals only when a
    library's call returns, and this one waits for processes that may never come."""
    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _device_type(wanted: str) -> str:
    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise InputError(
            "launch.device=cuda, but torch finds no CUDA device here: launch.device=cpu trains "
            "without one"
        )
    return "cuda" if has_cuda and wanted != "cpu" else "cpu"


def _share_heap() -> None:
    """One heap for all threads of a rank: gloo's many threads would each keep one of their own,
    which grows by the step and is never given back."""
    arena_max = -8  # M_ARENA_MAX of mallopt(3)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; others have no arenas
        libc.mallopt(arena_max, 1)
