"""Our Triton operators and their rivals on one GPU, interleaved in one process.

    python benchmarks/kernels.py [--only swiglu "loss head"] [--results FOLDER] [--smoke]

Numbers are checked first: whoever is wrong is not timed, and if we are, the program ends. Then each
pass is timed in turns (median, cold L2 cache, three rounds) and set against what the same run
reaches for a plain copy or matrix product. `ms` has the launches in it, `device_ms` of short passes
has not; shares are of the smaller. Writes kernels.csv, kernels.md and kernels.png.

Nothing heavy is imported at the top: transformers imports whatever is called `kernels`
on its path, to see whether that is Hugging Face's package of this name.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from kernels_report import Row, line, plot, store

if TYPE_CHECKING:
    import torch
    from contests import Contest, Contestant
    from torch import Tensor

HERE = Path(__file__).resolve().parent
OPERATORS = ("add_rms_norm", "rope", "swiglu", "loss head", "adamw")
ROUNDS = 3
CHECKED_ROWS = 257
SHORT_MS = 0.2
"""Passes under this are also timed without their launches."""
WRONG = 10.0
"""A rival whose error is this many times that of plain PyTorch does not compute the same."""


def main() -> int:
    arguments = _arguments()
    if arguments.plot:
        plot(arguments.results)
        return 0
    if arguments.smoke:
        os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported
    import torch
    from gpu_timing import copy_ceiling, facts, matmul_ceiling, require_gpu

    device = require_gpu("benchmarks/kernels.py", arguments.smoke)
    torch.manual_seed(0)
    # The interpreter rounds to bf16 by truncation.
    dtype = torch.float32 if arguments.smoke else torch.bfloat16
    ceilings = {"copy": copy_ceiling(device), "matmul": matmul_ceiling(device, dtype)}
    found = facts(device) | {
        "copy ceiling": f"{ceilings['copy'] / 1e9:,.0f} GB/s",
        "matmul ceiling": f"{ceilings['matmul'] / 1e12:,.0f} TFLOP/s",
    }
    print(*(f"{key}: {value}" for key, value in found.items()), sep="\n", flush=True)
    rows: list[Row] = []
    notes: dict[str, str] = {}
    sizes = SMOKE_SIZES if arguments.smoke else SIZES
    for operator in arguments.only:
        errors: dict[Any, dict[str, float]] = {}
        for tokens, *size in sizes[operator]:
            if operator == "adamw":
                contested = _contest_adamw(tokens, device, ceilings)
            else:
                make = _maker(operator)
                key = tuple(size[:2])
                if key not in errors:
                    small = make(min(tokens, CHECKED_ROWS), *size, device, dtype)
                    errors[key] = check(small, notes)
                contest = make(tokens, *size, device, dtype)
                notes |= {f"{operator}, {who}": why for who, why in contest.absent.items()}
                contested = contend(contest, errors[key], ceilings, device, notes)
            for row in contested:
                rows.append(row)
                print(line(row), flush=True)
            _free(device)
            store(rows, found, notes, arguments.results)  # a lent machine may end any time
    plot(arguments.results)
    return 0


SIZES: dict[str, list[tuple[Any, ...]]] = {
    "add_rms_norm": [(512, 4096), (2048, 4096), (4096, 4096), (16384, 4096), (4096, 5120)],
    "rope": [(512, 4096), (2048, 4096), (4096, 4096), (16384, 4096), (4096, 5120)],
    "swiglu": [(512, 11008), (2048, 11008), (4096, 11008), (16384, 11008), (4096, 13824)],
    "loss head": [
        *((tokens, 4096, 32000, 0.28) for tokens in (512, 2048, 4096, 16384)),
        *((tokens, 4096, 32000, masked) for tokens in (4096, 16384) for masked in (0.0, 0.5)),
        *((tokens, 4096, 49953, 0.28) for tokens in (4096, 16384)),
        (4096, 4096, 55296, 0.28),
        (4096, 5120, 32000, 0.28),
    ],
    "adamw": [(2**28,), (2**28 - 1,)],
}
"""Tokens, then what `contests` asks for: those of 7B and 13B, and the vocabularies of LLaMA,
Chinese-LLaMA and Chinese-LLaMA-2."""
SMOKE_SIZES: dict[str, list[tuple[Any, ...]]] = {
    "add_rms_norm": [(5, 64)],
    "rope": [(5, 64)],
    "swiglu": [(5, 100)],
    "loss head": [(9, 32, 77, 0.28)],
    "adamw": [(1000,)],
}


def _maker(operator: str) -> Callable[..., Contest]:
    import contests
    from loss_head_contest import loss_head

    return {
        "add_rms_norm": contests.norm,
        "rope": contests.rope,
        "swiglu": contests.swiglu,
        "loss head": loss_head,
    }[operator]


def check(contest: Contest, notes: dict[str, str]) -> dict[str, float]:
    """Each contestant's error, in errors of plain PyTorch; those that are wrong are left out.

    Ends the program where ours is more than twice as far from float64 as plain PyTorch is.
    """
    from contests import EAGER, OURS

    truth = _results(contest, contest.truth, wide=True)
    distances = {}
    for name, contestant in contest.contestants.items():
        found = _attempt(
            f"{contest.operator}, {name}", notes, partial(_results, contest, contestant)
        )
        if found is not None:
            distances[name] = [_distance(x, y) for x, y in zip(found, truth, strict=True)]
    eager = [max(distance, 1e-7) for distance in distances[EAGER]]
    errors = {
        name: max(mine / theirs for mine, theirs in zip(distance, eager, strict=True))
        for name, distance in distances.items()
    }
    if errors.get(OURS, 99.0) > 2:
        sys.exit(f"{contest.operator} {contest.shape}: ours is wrong, {distances} {notes}")
    for name in [name for name, error in errors.items() if not error < WRONG]:
        notes[f"{contest.operator}, {name}"] = f"wrong by {errors.pop(name):.0f} errors of PyTorch"
    return errors


def _results(contest: Contest, contestant: Contestant, wide: bool = False) -> list[Tensor]:
    """Outputs and gradients, from copies: some rivals write into what they are given."""
    import torch

    leaves = [x.double() if wide else x.clone() for x in contest.leaves]
    leaves = [x.detach().requires_grad_() for x in leaves]
    outputs = contestant(*leaves)
    kept = [x.detach().double() for x in outputs]
    seeds = [seed.to(x.dtype, copy=True) for seed, x in zip(contest.seeds, outputs, strict=True)]
    return kept + [x.double() for x in torch.autograd.grad(outputs, leaves, seeds)]


def _distance(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).norm() / truth.norm().clamp(min=1e-30))


def contend(
    contest: Contest,
    errors: dict[str, float],
    ceilings: dict[str, float],
    device: torch.device,
    notes: dict[str, str],
) -> Iterator[Row]:
    """Time every pass of every contestant that is right, in turns."""
    from gpu_timing import device_milliseconds, milliseconds, peak_bytes

    right = {name: f for name, f in contest.contestants.items() if name in errors}
    for step in contest.cost:
        calls: dict[str, Callable[[], object]] = {}
        peaks: dict[str, int] = {}
        times: dict[str, list[float]] = {}
        for name, contestant in right.items():
            who = f"{contest.operator} {contest.shape} {step}, {name}"
            call = _attempt(who, notes, partial(_pass, contest, contestant, step))
            peak = call and _attempt(
                who, notes, partial(_peak_after_warmup, peak_bytes, call, device)
            )
            if call is not None and peak is not None:
                calls[name], peaks[name] = call, peak
        for _ in range(ROUNDS):
            for name, call in calls.items():
                times.setdefault(name, []).append(milliseconds(call, device))
        medians = {name: median(values) for name, values in times.items()}
        alone = {
            name: device_milliseconds(call, device)
            for name, call in calls.items()
            if medians[name] < SHORT_MS and not contest.is_product
        }
        best = {name: min(ms, alone.get(name) or ms) for name, ms in medians.items()}
        for name, ms in best.items():
            rate = contest.cost[step] / (ms / 1e3)
            yield Row(
                operator=contest.operator,
                shape=contest.shape,
                step=step,
                contestant=name,
                ms=medians[name],
                device_ms=alone.get(name),
                gb_per_second=None if contest.is_product else rate / 1e9,
                tflop_per_second=rate / 1e12 if contest.is_product else None,
                share_of_ceiling=rate / ceilings["matmul" if contest.is_product else "copy"],
                times_faster_we_are=ms / best["ours"],
                peak_mib=peaks[name] / 2**20,
                error=errors[name],
            )


def _pass(contest: Contest, contestant: Contestant, step: str) -> Callable[[], object]:
    """One pass as a call. Gradients are returned and dropped, never added to others."""
    import torch

    leaves = [x.detach().requires_grad_() for x in contest.leaves]
    if step == "forward" and contest.is_product:
        return torch.no_grad()(lambda: contestant(*leaves))
    if step == "forward":
        return lambda: contestant(*leaves)
    # Some rivals write into the gradients that come in.
    shaped = contestant(*leaves)
    seeds = [seed.to(x.dtype, copy=True) for seed, x in zip(contest.seeds, shaped, strict=True)]
    if step == "full":
        return lambda: torch.autograd.grad(contestant(*leaves), leaves, seeds)
    return lambda: torch.autograd.grad(shaped, leaves, seeds, retain_graph=True)


def _peak_after_warmup(peak_bytes: Callable[..., int], call: Any, device: torch.device) -> int:
    call()  # compiles
    return peak_bytes(call, device)


def _attempt(who: str, notes: dict[str, str], call: Callable[[], Any]) -> Any:
    """What `call` returns; None and a note where it fails."""
    # Libraries of others fail on shapes in ways of their own; the contest goes on without them.
    try:
        return call()
    except Exception as error:
        if who.endswith(", ours"):
            raise
        notes[who] = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        return None


def _contest_adamw(n: int, device: torch.device, ceilings: dict[str, float]) -> Iterator[Row]:
    """One step over `n` parameters in fp32: 28 bytes each."""
    import torch
    from gpu_timing import milliseconds, peak_bytes
    from llama_gpt4_kernels.adamw_triton import AdamW

    settings: dict[str, Any] = {"lr": 1e-2, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    values, gradient = torch.randn(n, device=device), torch.randn(n, device=device)
    kinds = {"ours": AdamW, "torch fused": partial(torch.optim.AdamW, fused=True)}
    kinds["torch foreach"] = partial(torch.optim.AdamW, foreach=True)
    optimizers: dict[str, Any] = {}
    results: dict[str, Tensor] = {}
    for name, kind in kinds.items():
        parameter = torch.nn.Parameter(values.clone())
        parameter.grad = gradient
        optimizers[name] = kind([parameter], **settings)
        optimizers[name].step()
        results[name] = parameter.detach() - values
    for name, result in results.items():
        difference = _distance(result, results["torch fused"])
        assert difference < 1e-4, f"adamw: {name} differs from torch's by {difference}"
    peaks = {name: peak_bytes(one.step, device) for name, one in optimizers.items()}
    times: dict[str, list[float]] = {name: [] for name in optimizers}
    for _ in range(ROUNDS):
        for name, optimizer in optimizers.items():
            times[name].append(milliseconds(optimizer.step, device))
    medians = {name: median(taken) for name, taken in times.items()}
    for name, ms in medians.items():
        rate = 28 * n / (ms / 1e3)
        yield Row(
            operator="adamw",
            shape=f"n={n}",
            step="full",
            contestant=name,
            ms=ms,
            device_ms=None,
            gb_per_second=rate / 1e9,
            tflop_per_second=None,
            share_of_ceiling=rate / ceilings["copy"],
            times_faster_we_are=ms / medians["ours"],
            peak_mib=peaks[name] / 2**20,
            error=1.0,
        )


def _free(device: torch.device) -> None:
    import gc

    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=OPERATORS, default=OPERATORS)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--plot", action="store_true", help="draw what kernels.csv holds, and end")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, interpreted on a CPU")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
