"""One process on one host, asked by `llama-gpt4 doctor`: a line of JSON in, a line of JSON out.

It ends with its standard input, so that none outlives the doctor, however its host is reached.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import queue
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.program import end_with_parent
from llama_gpt4.records import read_bytes

LIBRARIES = ("torch", "deepspeed", "transformers", "triton", "llama-gpt4")
ROOMS = ("llama_gpt4", "llama_gpt4_conf", "llama_gpt4_kernels", "llama_gpt4_launch")
CODE_SUFFIXES = (".py", ".yaml", ".json")

REPEATS = 5
"""All-reduces that are timed, after one that is not."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What one host says about itself."""

    host: str
    versions: dict[str, str]
    """Of Python and `LIBRARIES`; `missing` where one is not installed."""
    code: str
    """SHA-256 of all files of ours."""
    commit: str
    """What git calls it; `no git` where nobody knows."""
    gpus: list[str]
    """Names of the GPUs that this user may see."""
    driver: str
    """NVIDIA's; `none` without."""
    free_bytes: int
    """On the disk of `run_dir`."""
    files: dict[str, str | None]
    """SHA-256 of each file of data; null where it cannot be read."""
    port: str
    """`free`, or why nobody can listen on it."""
    operators: dict[str, str]
    """`usable`, or `not usable: …`, by their configuration keys."""


def facts(run_dir: str, files: list[str], port: int) -> dict[str, Any]:
    """`Facts` of this host."""
    import torch

    has_cuda = torch.cuda.is_available()
    n_gpus = torch.cuda.device_count() if has_cuda else 0
    found = Facts(
        host=socket.gethostname(),
        versions=_versions(),
        code=_code_digest(),
        commit=_commit(),
        gpus=[torch.cuda.get_device_name(i) for i in range(n_gpus)],
        driver=_driver(),
        free_bytes=shutil.disk_usage(_nearest_folder(Path(run_dir))).free,
        files={name: _file_digest(name) for name in files},
        port=_port_state(port),
        operators=_operators(torch.device("cuda" if has_cuda else "cpu")),
    )
    return asdict(found)


def clock() -> dict[str, Any]:
    """The time on this host."""
    return {"seconds": time.time()}


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Where and how this host's ranks meet all others."""

    first_rank: int
    """Of this host."""
    world_size: int
    address: str
    port: int
    device: str
    n_bytes: int
    """Of the float32 numbers that each rank adds to those of the others."""
    timeout_seconds: float


def all_reduce(processes: int, **meeting: Any) -> dict[str, Any]:
    """Start this host's ranks; they meet all others, as the keys of `Meeting` say, and add up.

    The answer is the `seconds` of one all-reduce, by rank 0 or else by this host's first rank.
    """
    of_rank = partial(_rank, Meeting(**meeting))
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), end_with_parent
    ) as ranks:
        seconds = list(ranks.map(of_rank, range(processes)))
    return {"seconds": seconds[0]}


def _rank(meeting: Meeting, local_rank: int) -> float:
    import torch
    import torch.distributed as dist

    rank = meeting.first_rank + local_rank
    place = torch.device("cpu")
    if meeting.device == "cuda":
        place = torch.device("cuda", local_rank)
        torch.cuda.set_device(place)
    dist.init_process_group(
        "nccl" if meeting.device == "cuda" else "gloo",
        init_method=f"tcp://{meeting.address}:{meeting.port}",
        rank=rank,
        world_size=meeting.world_size,
        timeout=timedelta(seconds=meeting.timeout_seconds),
    )
    values = torch.empty(meeting.n_bytes // 4, device=place)
    expected = meeting.world_size * (meeting.world_size + 1) / 2
    taken = []
    for _ in range(1 + REPEATS):
        values.fill_(rank + 1)
        dist.barrier()
        if meeting.device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        dist.all_reduce(values)
        # Reading a value waits for the device.
        if float(values[-1]) != expected:
            raise RuntimeError(f"rank {rank} has {float(values[-1])} as the sum, not {expected}")
        taken.append(time.perf_counter() - began)
    dist.destroy_process_group()
    return statistics.median(taken[1:])


def _versions() -> dict[str, str]:
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python} | {name: _version(name) for name in LIBRARIES}


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _code_digest() -> str:
    whole = hashlib.sha256()
    for name, path in _code_files():
        whole.update(name.encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _code_files() -> Iterator[tuple[str, Path]]:
    """Our files with names that are the same wherever we are installed."""
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        assert spec is not None and spec.origin is not None, room
        folder = Path(spec.origin).parent
        for path in sorted(folder.rglob("*")):
            if path.suffix in CODE_SUFFIXES:
                yield f"{room}/{path.relative_to(folder)}", path


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run([*git, "--exclude=*"], capture_output=True, text=True)
    except OSError:
        return "no git"
    return done.stdout.strip().replace("-dirty", " with changes") or "no git"


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True).stdout.split()
    except OSError:
        return "none"
    return lines[0] if lines else "none"


def _nearest_folder(path: Path) -> Path:
    """`path`, or the folder above it that is there already."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _file_digest(name: str) -> str | None:
    try:
        return hashlib.sha256(read_bytes(name)).hexdigest()
    except InputError:
        return None


def _port_state(port: int) -> str:
    with socket.socket() as probe:
        # As a server of ours would: connections that are only closing down do not hold a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            return str(error.strerror)
    return "free"


def _operators(device: Any) -> dict[str, str]:
    from llama_gpt4_kernels.packed_attention import PACKAGES
    from llama_gpt4_kernels.selection import UnavailableError, select_operators

    states = {}
    for key, kernels, attention in (
        ("model.kernels=fused", "fused", "sdpa"),
        *((f"model.attention={name}", "reference", name) for name in ("varlen", *PACKAGES)),
    ):
        try:
            select_operators(kernels, attention, device)
            states[key] = "usable"
        except UnavailableError as error:
            states[key] = f"not usable: {error}"
    return states


ASKED: dict[str, Callable[..., dict[str, Any]]] = {
    "clock": clock,
    "facts": facts,
    "all_reduce": all_reduce,
}


def main() -> None:
    """Answer requests, a JSON object a line, from standard input to standard output."""
    # Libraries print what they like: that goes to standard error, and answers stay alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        request = json.loads(requests.get())
        os.environ.update(request.pop("environment"))
        try:
            answer = ASKED[request.pop("ask")](**request)
        except Exception as error:  # whatever it is, it is what the doctor has to report
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        answers.write(json.dumps(answer) + "\n")


def _listen(requests: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
