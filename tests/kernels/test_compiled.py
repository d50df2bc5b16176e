"""What the compiler makes of every Triton kernel, for GPUs that need not be here.

This stands for a benchmark where there is no GPU: a kernel that spills, that moves 2 bytes at a
time, or of which too few fit, is slow whatever the data are.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Floor:
    """What a kernel has to reach at every size of `ahead_of_time.CASES`."""

    warps_per_sm: int
    wide_loads: int
    """16-byte loads in the code; 0 where rows of an unaligned size forbid them."""
    wide_stores: int
    narrow_accesses: int
    """The most loads and stores of 1 or 2 bytes that may be there."""


FLOORS = {
    # A row in the registers of 8 warps; 40 warps keep three such rows and more on their way.
    "rms_norm_triton.forward_kernel": Floor(40, 4, 2, 0),
    # Two programs of 8 warps: each has the next row under way while it reduces this one, and the
    # grid counts on both being there at once.
    "rms_norm_triton.backward_kernel": Floor(16, 10, 6, 0),
    # No reductions, no reuse: whatever is in flight comes from the number of warps.
    "rope_triton.turn_kernel": Floor(48, 8, 4, 0),
    # The last block of all is masked value by value: 8 values a lane of 3, or of 5, tensors.
    "swiglu_triton.forward_kernel": Floor(64, 2, 1, 24),
    "swiglu_triton.backward_kernel": Floor(48, 3, 2, 40),
    # Four rows at a time hide each other's reductions; the narrow load is the target's logit.
    "linear_cross_entropy_triton.softmax_rows_kernel": Floor(64, 1, 0, 1),
    "adamw_triton.adamw_kernel": Floor(48, 4, 3, 0),
}
BAD = Floor(16, 1, 1, 0)


def faults(build: dict[str, Any], floor: Floor) -> list[str]:
    """What is wrong with a kernel, in words."""
    found = []
    if build["spilled_bytes"]:
        found.append(f"{build['spilled_bytes']} bytes of spilled registers")
    if build["too_large"]:
        found.append(f"32 bits are too few for {build['too_large']}")
    if build["case"].startswith("unaligned"):
        return found
    if build["warps_per_sm"] < floor.warps_per_sm:
        found.append(f"only {build['warps_per_sm']} warps per multiprocessor")
    for kind in ("wide_loads", "wide_stores"):
        if build[kind] < getattr(floor, kind):
            found.append(f"only {build[kind]} {kind}")
    if build["narrow_accesses"] > floor.narrow_accesses:
        found.append(f"{build['narrow_accesses']} narrow accesses")
    return found


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    # Its own process: in this one, Triton interprets.
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.ahead_of_time"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_every_kernel_has_a_floor_and_was_compiled(report: dict[str, Any]) -> None:
    assert report["kernels"] == sorted(FLOORS)
    compiled = {(build["kernel"], build["capability"]) for build in report["production"]}
    assert compiled == {(kernel, capability) for kernel in FLOORS for capability in (80, 90)}


def test_kernels_are_fit_for_the_gpu(report: dict[str, Any]) -> None:
    found = {
        f"{build['kernel']} {build['case']} sm_{build['capability']}": faults(
            build, FLOORS[build["kernel"]]
        )
        for build in report["production"]
    }
    assert not {name: bad for name, bad in found.items() if bad}


def test_a_bad_kernel_is_refused(report: dict[str, Any]) -> None:
    found = {
        build["kernel"].partition(".")[2]: " ".join(faults(build, BAD)) for build in report["bad"]
    }
    assert "narrow accesses" in found["_two_bytes_a_lane"]
    assert "only 0 wide_loads only 0 wide_stores" in found["_two_bytes_a_lane"]
    assert "spilled registers" in found["_too_many_registers"]
    assert "32 bits are too few" in found["_offset_in_32_bits"]


def test_another_number_of_tokens_compiles_nothing(report: dict[str, Any]) -> None:
    assert report["compiled_for_many_counts"] == report["compiled_for_one_count"]
