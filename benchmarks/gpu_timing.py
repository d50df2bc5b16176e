"""Clocks, ceilings and facts for the benchmarks that need a GPU; `--smoke` runs them on a CPU.

A smoke run takes the same paths with tiny shapes in Triton's interpreter. Its times mean nothing.
"""

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from statistics import median

import torch
from machine import commit

LIBRARIES = ("torch", "triton", "liger-kernel", "transformers", "trl", "deepspeed")
FLUSH_BYTES = 256 * 2**20
"""Written before each timed call: more than any L2 cache holds."""
GRAPH_CALLS = 20


def require_gpu(program: str, is_smoke: bool) -> torch.device:
    """The device to run on; ends the program where there is none."""
    if is_smoke:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        sys.exit(
            f"{program} needs a CUDA device and torch finds none; --smoke tries it out on a CPU"
        )
    # CUDA graphs cannot capture the default stream, and a backward pass runs on its forward's.
    torch.cuda.set_stream(torch.cuda.Stream())
    return torch.device("cuda")


def milliseconds(call: Callable[[], object], device: torch.device) -> float:
    """Median time of `call` with a cold L2 cache, launching included."""
    if device.type == "cpu":
        began = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - began)
    from triton.testing import do_bench

    return float(do_bench(call, warmup=10, rep=40, return_mode="median"))


def device_milliseconds(call: Callable[[], object], device: torch.device) -> float | None:
    """Time of `call` on the device alone, from a CUDA graph; None where it cannot be captured.

    The same graph without the call tells what flushing the cache takes.
    """
    if device.type == "cpu":
        return None
    flushed = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32, device=device)
    try:
        both = _graph_milliseconds(lambda: (flushed.zero_(), call()))
    except RuntimeError:  # it waits for the device somewhere
        torch.cuda.synchronize()
        return None
    return (both - _graph_milliseconds(flushed.zero_)) / GRAPH_CALLS


def _graph_milliseconds(call: Callable[[], object]) -> float:
    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        for _ in range(GRAPH_CALLS):
            call()
    times = []
    for _ in range(5):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        graph.replay()
        ended.record()
        ended.synchronize()
        times.append(began.elapsed_time(ended))
    return median(times)


def copy_ceiling(device: torch.device) -> float:
    """Bytes a second, read and written, that a large copy reaches."""
    n_bytes = 2**30 if device.type == "cuda" else 2**20
    source = torch.empty(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * n_bytes / (milliseconds(lambda: target.copy_(source), device) / 1e3)


def matmul_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best of two matrix products: a large square, and the head of LLaMA-7B."""
    shapes = [(8192, 8192, 8192), (8192, 4096, 32000)] if device.type == "cuda" else [(64, 64, 64)]
    best = 0.0
    for m, k, n in shapes:
        a = torch.randn(m, k, device=device, dtype=dtype)
        b = torch.randn(n, k, device=device, dtype=dtype).t()
        seconds = milliseconds(lambda a=a, b=b: a @ b, device) / 1e3  # type: ignore[misc]
        best = max(best, 2 * m * k * n / seconds)
    return best


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Memory that `call` takes at most beyond what is held when it begins; 0 on a CPU."""
    if device.type == "cpu":
        call()
        return 0
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - held


def facts(device: torch.device) -> dict[str, str]:
    """What a number has to be read with."""
    found = {"date": str(date.today()), "commit": commit(), "device": _name(device)}
    found["python"] = platform.python_version()
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _name(device: torch.device) -> str:
    if device.type == "cpu":
        return "CPU (smoke run: times mean nothing)"
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[0]
    return f"{torch.cuda.get_device_name(device)}, driver {driver}, CUDA {torch.version.cuda}"
