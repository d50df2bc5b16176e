"""Compiles what the operators launch for GPUs that are not here, and reads the machine code.

    python -m tests.kernels.ahead_of_time        # JSON to standard output

The operators themselves run, forward and backward, on tensors without values (device `meta`) at the
sizes of LLaMA-7B and 13B. Triton decides as always what has to be compiled for the arguments that
arrive; only the driver is ours, says which GPU it would be, and launches nothing. Must run where
`TRITON_INTERPRET` is not set.
"""

import contextlib
import importlib
import json
import pkgutil
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import llama_gpt4_kernels
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from tests.kernels import intervals

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
CAPABILITIES = (80, 90)
SHARED_BYTES = {80: 164 * 1024, 90: 228 * 1024}
"""Of a streaming multiprocessor; a block takes 1 KiB more than it asks for."""
REGISTERS, MOST_WARPS, MOST_BLOCKS = 65536, 64, 32
"""Of a streaming multiprocessor of either capability."""
ROWS = (2**20, 4095)
"""The first is so large that row times stride exceeds 2^31; the second is odd."""


@dataclass(frozen=True)
class Launch:
    """What Triton asked its compiler for, and the launch that made it ask."""

    kernel: str
    case: str
    capability: int
    key: str
    source: ASTSource
    options: dict[str, Any]
    grid: tuple[int, ...]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Build:
    """One kernel as a GPU would run it."""

    kernel: str
    case: str
    capability: int
    registers: int
    shared_bytes: int
    n_warps: int
    warps_per_sm: int
    """Resident at a time, as registers, shared memory and blocks allow."""
    spilled_bytes: int
    """Of local memory, which is what does not fit the registers."""
    wide_loads: int
    wide_stores: int
    """Instructions that move 16 bytes a lane from or to global memory."""
    narrow_accesses: int
    """Instructions that move 1 or 2 bytes a lane."""
    too_large: list[str]
    """Products and sums in 32 bits that may exceed them at the largest sizes."""


class _Driver:
    """Stands for the GPU whose compute capability is the number of the device."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_device(self) -> int:
        return self.capability

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)


@contextlib.contextmanager
def recorded(case: str, capability: int) -> Iterator[list[Launch]]:
    """Collects the launches of the block, of which none takes place."""
    launches: list[Launch] = []
    launching = JITFunction.run, JITFunction._do_compile
    current: dict[str, Any] = {}

    def run(fn: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        names = [parameter.name for parameter in fn.params]
        given = dict(zip(names, args, strict=False)) | kwargs
        given = {p.name: p.default for p in fn.params if p.has_default} | given
        current.update(
            grid=tuple(grid(given) if callable(grid) else grid),
            arguments={name: given[name] for name in names},
        )
        launching[0](fn, *args, grid=grid, warmup=True, **kwargs)

    def do_compile(
        fn: JITFunction,
        key: str,
        signature: dict[str, str],
        device: int,
        constants: dict[Any, Any],
        options: Any,
        attributes: dict[Any, Any],
        warmup: bool,
    ) -> None:
        source = ASTSource(fn, signature, constants, attributes)
        launches.append(Launch(name_of(fn), case, device, key, source, options.__dict__, **current))

    driver.set_active(_Driver(capability))
    gpu = SimpleNamespace(multi_processor_count=132)
    with (
        mock.patch.multiple(JITFunction, run=run, _do_compile=do_compile),
        mock.patch.object(torch.cuda, "get_device_properties", lambda device: gpu),
    ):
        yield launches


def name_of(fn: JITFunction) -> str:
    return f"{fn.module.rpartition('.')[2]}.{fn.__name__}"


def kernels() -> dict[str, JITFunction]:
    """Every function of the package that Triton compiles, but for those that others call."""
    found = {}
    for info in pkgutil.iter_modules(llama_gpt4_kernels.__path__):
        module = importlib.import_module(f"llama_gpt4_kernels.{info.name}")
        for value in vars(module).values():
            if isinstance(value, JITFunction) and value.module == module.__name__:
                found[name_of(value)] = value
    return {name: fn for name, fn in found.items() if not _is_called(fn, found.values())}


def _is_called(fn: JITFunction, others: Iterable[JITFunction]) -> bool:
    beside = (other.src for other in others if other.module == fn.module and other is not fn)
    return any(re.search(rf"\b{fn.__name__}\(", source) for source in beside)


def build(launch: Launch) -> Build:
    target = GPUTarget("cuda", launch.capability, 32)
    compiled = triton.compile(launch.source, target=target, options=launch.options)
    usage = _resource_usage(compiled.asm["cubin"])
    loads, stores = (_access_bytes(kind, compiled.asm["ptx"]) for kind in ("ld", "st"))
    shared, n_warps = compiled.metadata.shared, compiled.metadata.num_warps
    return Build(
        kernel=launch.kernel,
        case=launch.case,
        capability=launch.capability,
        registers=usage["REG"],
        shared_bytes=shared,
        n_warps=n_warps,
        warps_per_sm=warps_per_sm(usage["REG"], shared, n_warps, launch.capability),
        spilled_bytes=usage["STACK"] + usage["LOCAL"],
        wide_loads=loads.count(16),
        wide_stores=stores.count(16),
        narrow_accesses=sum(n_bytes < 4 for n_bytes in [*loads, *stores]),
        too_large=intervals.too_large(compiled.asm["ttir"], launch.grid, launch.arguments),
    )


def _resource_usage(cubin: bytes) -> dict[str, int]:
    """What the machine code takes, REG and STACK among it, as NVIDIA's tool reads it."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [TOOLS / "cuobjdump", "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"\b([A-Z]+):(\d+)", text)}


def _access_bytes(kind: str, ptx: str) -> list[int]:
    """Bytes a lane moves in each access of global memory.

    PTX decides that: ptxas neither joins accesses nor parts them.
    """
    found = re.findall(rf"\b{kind}\.global\S*?(?:\.v(\d))?\.[a-z]+(\d+)\s", ptx)
    return [int(n or 1) * int(bits) // 8 for n, bits in found]


def warps_per_sm(registers: int, shared_bytes: int, n_warps: int, capability: int) -> int:
    """Registers are given out in units of 8 a lane, and each quarter of the multiprocessor has its
    own."""
    of_a_warp = -(-registers // 8) * 8 * 32
    by_registers = REGISTERS // 4 // of_a_warp * 4 // n_warps
    by_shared = SHARED_BYTES[capability] // (shared_bytes + 1024)
    return min(by_registers, by_shared, MOST_WARPS // n_warps, MOST_BLOCKS) * n_warps


# What a model asks of the operators, in its dtype. -------------------------------------------


def _empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    tensor = torch.empty(shape, dtype=dtype, device="meta")
    return tensor.requires_grad_(dtype.is_floating_point)


def _backward(*outputs: Tensor) -> None:
    torch.autograd.backward(outputs, [torch.empty_like(x) for x in outputs])


def norm(rows: int, size: int) -> None:
    from llama_gpt4_kernels.rms_norm_triton import add_rms_norm

    weight = _empty(size)
    _backward(*add_rms_norm(_empty(rows, size), _empty(rows, size), weight, 1e-6))
    _backward(add_rms_norm(_empty(rows, size), None, weight, 1e-6)[1])


def turn(rows: int, n_heads: int, n_kv_heads: int, size: int) -> None:
    from llama_gpt4_kernels.rope_triton import rope, rope_tables

    positions = torch.empty(rows, dtype=torch.int64, device="meta")
    frequencies = torch.empty(size // 2, device="meta")
    q, k = _empty(rows, n_heads * size), _empty(rows, n_kv_heads * size)
    heads = (x.unflatten(-1, (-1, size)) for x in (q, k))
    _backward(*rope(*heads, *rope_tables(positions, frequencies)))


def gate(rows: int, size: int) -> None:
    from llama_gpt4_kernels.swiglu_triton import swiglu

    _backward(swiglu(_empty(rows, size), _empty(rows, size)))


def head(rows: int, vocab_size: int, chunk_bytes: int = 2**62) -> None:
    """By default in one chunk, so that its offsets are as large as with memory without end."""
    from llama_gpt4_kernels import linear_cross_entropy
    from llama_gpt4_kernels import linear_cross_entropy_triton as module

    hidden, weight = _empty(rows, 64), _empty(vocab_size, 64)
    targets = torch.empty(rows, dtype=torch.int64, device="meta")
    weights = torch.empty(rows, device="meta")
    with mock.patch.object(linear_cross_entropy, "CHUNK_BYTES", chunk_bytes):
        _backward(module.linear_cross_entropy(hidden, weight, targets, weights))
        with torch.no_grad():
            module.linear_cross_entropy(hidden, weight, targets, weights)
        _backward(module.token_log_probabilities(hidden, weight, targets))


def update(n: int) -> None:
    from llama_gpt4_kernels import adamw_triton as module

    # By its inner function: torch's constructor refuses parameters on this device.
    group = {"lr": 2e-5, "weight_decay": 0.1, "eps": 1e-8, "betas": (0.9, 0.95)}
    tensors = [torch.empty(n, device="meta") for _ in range(4)]
    module._launch(*tensors, torch.empty((), device="meta"), module._scalars(group))


CASES: dict[str, Callable[[int], None]] = {
    "7B D=4096": lambda rows: norm(rows, 4096),
    "13B D=5120": lambda rows: norm(rows, 5120),
    "unaligned D=4099": lambda rows: norm(rows, 4099),
    "7B heads": lambda rows: turn(rows, 32, 32, 128),
    "13B heads": lambda rows: turn(rows, 40, 40, 128),
    "grouped heads": lambda rows: turn(rows, 32, 8, 128),
    "7B F=11008": lambda rows: gate(rows, 11008),
    "13B F=13824": lambda rows: gate(rows, 13824),
    "odd F=11009": lambda rows: gate(rows, 11009),
    "V=32000": lambda rows: head(rows, 32000),
    "V=32001": lambda rows: head(rows, 32001),
    "V=49953": lambda rows: head(rows, 49953),
    "n=rows*4095": lambda rows: update(rows * 4095),
}
"""Rows of `unaligned` sizes do not all begin at a multiple of 16 bytes."""
TRAINING: dict[str, Callable[[int], None]] = {
    "norm": lambda rows: norm(rows, 4096),
    "turn": lambda rows: turn(rows, 32, 32, 128),
    "gate": lambda rows: gate(rows, 11008),
    "head": lambda rows: head(rows, 49953, chunk_bytes=2**29),
}
"""What the number of tokens of a micro-batch reaches."""


# Kernels that the gate must refuse. -----------------------------------------------------------


@triton.jit
def _two_bytes_a_lane(x, y, n, stride, BLOCK: tl.constexpr):
    """The mask is at an odd place, so 16 bytes cannot be masked as one."""
    row = tl.program_id(0).to(tl.int64) * stride
    columns = tl.arange(0, BLOCK)
    value = tl.load(x + row + columns, columns < n)
    tl.store(y + row + columns, value, columns < n)


@triton.jit
def _too_many_registers(x, y, BLOCK: tl.constexpr):
    """Every lane holds 512 numbers until all have been read."""
    row = tl.program_id(0).to(tl.int64) * BLOCK
    columns = tl.arange(0, BLOCK)
    value = tl.load(x + row + columns).to(tl.float32)
    tl.store(y + row + columns, (value / tl.sum(value)).to(tl.bfloat16))


@triton.jit
def _offset_in_32_bits(x, y, stride, BLOCK: tl.constexpr):
    columns = tl.program_id(0) * stride + tl.arange(0, BLOCK)
    tl.store(y + columns, tl.load(x + columns))


def bad_launches() -> None:
    x = torch.empty(2**20, 32768, dtype=torch.bfloat16, device="meta")
    grid = (len(x),)
    _two_bytes_a_lane[grid](x, x, 8001, 32768, BLOCK=8192, num_warps=16)
    _too_many_registers[grid](x, x, BLOCK=32768, num_warps=4)
    _offset_in_32_bits[grid](x, x, 32768, BLOCK=4096)


def launches_of(case: str, run: Callable[[], Any], capability: int) -> list[Launch]:
    """One launch of each thing that Triton would compile: that with the largest grid."""
    with recorded(case, capability) as launches:
        run()
    return largest(launches)


def largest(launches: list[Launch]) -> list[Launch]:
    by_grid = sorted(launches, key=lambda launch: launch.grid)
    return list({(one.kernel, one.capability, one.key): one for one in by_grid}.values())


def production_launches() -> list[Launch]:
    launches = []
    for capability in CAPABILITIES:
        for case, run in CASES.items():
            for rows in ROWS:
                launches += launches_of(case, partial(run, rows), capability)
    return largest(launches)


def compiled_for(counts: list[int]) -> list[list[str]]:
    """What Triton compiles in training on micro-batches of these numbers of tokens."""
    return sorted(
        {
            (launch.kernel, str(launch.key))
            for run in TRAINING.values()
            for count in counts
            for launch in launches_of("training", partial(run, count), 90)
        }
    )


def main() -> None:
    production = production_launches()
    bad = launches_of("bad", bad_launches, 90)
    # The compiler's passes and ptxas let go of Python's lock.
    with ThreadPoolExecutor(2) as pool:
        builds = [asdict(one) for one in pool.map(build, [*production, *bad])]
    drawn = torch.randint(2, 20_000, (20,), generator=torch.Generator().manual_seed(0)).tolist()
    report = {
        "kernels": sorted(kernels()),
        "production": builds[: len(production)],
        "bad": builds[len(production) :],
        "compiled_for_one_count": compiled_for(drawn[:1]),
        "compiled_for_many_counts": compiled_for([*drawn, 1, 16, 4096]),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
