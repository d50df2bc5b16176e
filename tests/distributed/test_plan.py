"""What `llama-gpt4 plan` says of a state, beside the bytes that real engines hold on four ranks;
and hpZ beside plain ZeRO-3."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

HERE = Path(__file__).parent
ADAMW_SCALARS = 32 * 4
"""AdamW counts its steps in float32, once for every tensor that it updates: at most these bytes."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """By rank."""
    out = tmp_path_factory.mktemp("plan")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    worker = str(HERE / "plan_worker.py")
    subprocess.run(
        [sys.executable, *launcher, worker, str(out)],
        check=True,
        env=environment,
        timeout=500,
        stdout=subprocess.DEVNULL,
    )
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(4)]


def test_planned_states_are_those_of_real_engines_to_the_byte(
    results: list[dict[str, Any]],
) -> None:
    for name in results[0]["states"]:
        measured = max(result["states"][name][0] for result in results)
        planned = results[0]["states"][name][1]
        assert 0 <= measured - planned <= ADAMW_SCALARS, (name, measured, planned)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_hpz_trains_as_plain_zero_3_does_bit_for_bit(
    results: list[dict[str, Any]], dtype: str
) -> None:
    """Two hosts of two processes; losses of eight micro-steps and norms of four updates."""
    curves = results[0]["curves"]
    assert len(curves[f"hpz-{dtype}"]) == 12
    assert curves[f"hpz-{dtype}"] == curves[f"stage3-{dtype}"]
    losses = curves[f"hpz-{dtype}"][::3]
    assert len(set(losses)) == 4
