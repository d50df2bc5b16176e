"""What four processes have saved is the same on one, two or eight, bit for bit, under each ZeRO
stage: weights, master weights and both moments; and training goes on as on the four."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

HERE = Path(__file__).parent
PLACES = [(world, stage) for world in (1, 2, 8) for stage in (1, 2, 3)]
KINDS = ("weight", "master", "exp_avg", "exp_avg_sq")
Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("worlds")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    worker = str(HERE / "world_sizes_worker.py")
    subprocess.run([sys.executable, worker, str(out)], check=True, env=environment, timeout=300)
    return out


def held(out: Path, dtype: str, stage: int, world: int) -> tuple[dict[str, Array], Array]:
    """The whole state, put together from what each rank holds; and the losses after it."""
    parts: dict[str, dict[int, Array]] = {}
    ranks = sorted((out / f"{dtype}-stage{stage}-world{world}").glob("*.npz"))
    assert len(ranks) == world
    for rank in ranks:
        found = dict(np.load(rank))
        losses = found.pop("losses")
        for key, values in found.items():
            name, start, kind = key.split(":")
            if len(values):
                parts.setdefault(f"{name} {kind}", {})[int(start)] = values
    whole = {}
    for key, pieces in parts.items():
        starts = sorted(pieces)
        ends = [start + len(pieces[start]) for start in starts]
        assert starts == [0, *ends[:-1]], key
        whole[key] = np.concatenate([pieces[start] for start in starts])
    return whole, losses


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("world, stage", PLACES)
def test_the_state_is_what_four_processes_saved(
    out: Path, dtype: str, world: int, stage: int
) -> None:
    saved, curve = held(out, dtype, 3, 4)
    mine, losses = held(out, dtype, stage, world)
    assert {key.split()[1] for key in saved} == set(KINDS)
    assert mine.keys() == saved.keys()
    for key, truth in saved.items():
        assert np.count_nonzero(truth) and np.array_equal(mine[key], truth), key
    if dtype == "float32":
        assert np.abs(losses - curve).max() < 1e-6 * curve.max()
