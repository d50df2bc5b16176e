"""Each rank reads the bytes of its own slices, and all ranks together need little more memory than
the slices themselves; the values are the file's, whatever its format and precision."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.random_checkpoint import MEGA, write_checkpoint
from llama_gpt4.architecture import parameter_shapes
from llama_gpt4.embeddings import EMBEDDINGS, write_extended

from ..tiny_llama import tiny_llama

pytestmark = pytest.mark.distributed

HERE = Path(__file__).parent
WORLD = 2
# 110 MB in bfloat16; no parameter is a large part of it, as in the models that matter.
ARCHITECTURE = tiny_llama(
    vocab_size=4001,
    hidden_size=512,
    feed_forward_size=1409,
    n_layers=16,
    n_heads=8,
    n_kv_heads=8,
    max_positions=2048,
)
SMALL = replace(ARCHITECTURE, n_layers=2)
CASES = {
    # folder: training precision
    "bfloat16": "bfloat16",
    "float32": "bfloat16",
    "widened": "float32",
    "pickled": "bfloat16",
    "pickled_shards": "bfloat16",
    "malicious": "bfloat16",
    "extended": "bfloat16",
}
SPELLINGS = [[3, 17], [4000], [5, 5, 9, 2048]]
"""Old ids of the pieces for which `extended` has rows beyond those of `widened`."""
EXTENDED = replace(SMALL, vocab_size=4032)
STORED = {"float32": torch.float32}
"""The files' precision where it is not bfloat16."""


class Malicious:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._mark}",)


def write_pickled(source: Path, folder: Path, n_files: int, extra: dict[str, Any]) -> None:
    """The weights of `source` as pytorch_model.bin, or its shards."""
    folder.mkdir()
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = {**whole_weights(source), **extra}
    if n_files == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
        return
    files = [f"pytorch_model-{number + 1:05d}-of-{n_files:05d}.bin" for number in range(n_files)]
    weight_map = {name: files[index % n_files] for index, name in enumerate(tensors)}
    for file in files:
        torch.save({n: t for n, t in tensors.items() if weight_map[n] == file}, folder / file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def whole_weights(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
    return tensors


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("checkpoints")
    for name, architecture in (("bfloat16", ARCHITECTURE), ("float32", ARCHITECTURE),
                               ("widened", SMALL)):  # fmt: skip
        dtype = STORED.get(name, torch.bfloat16)
        write_checkpoint(parent / name, architecture, dtype, 25 * MEGA)
    write_pickled(parent / "widened", parent / "pickled", 1, {})
    write_pickled(parent / "widened", parent / "pickled_shards", 3, {})
    evil = {"model.layers.0.self_attn.rotary_emb.inv_freq": Malicious(parent / "owned")}
    write_pickled(parent / "widened", parent / "malicious", 1, evil)
    (parent / "extended").mkdir()
    described = EXTENDED.to_hugging_face("bfloat16", bos_id=1, eos_id=2, pad_id=0)
    (parent / "extended" / "config.json").write_text(json.dumps(described))
    source = parent / "widened"
    write_extended(source, SMALL, SMALL.vocab_size, SPELLINGS, parent / "extended")
    return parent


@pytest.fixture(scope="module")
def out(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the ranks leave: `rank-<r>.json`, and their slices in `<case>-<r>.pt`."""
    out = tmp_path_factory.mktemp("out")
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={WORLD}"]
    cases = [f"{dtype}:{checkpoints / name}" for name, dtype in CASES.items()]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": str(HERE.parents[1] / "benchmarks"),
    }
    subprocess.run(
        [sys.executable, *launcher, str(HERE / "loading_worker.py"), str(out), *cases],
        check=True,
        env=environment,
        timeout=300,
    )
    return out


def measured(out: Path, case: str) -> list[dict[str, Any]]:
    """Of each rank."""
    index = list(CASES).index(case)
    return [json.loads((out / f"rank-{rank}.json").read_text())[index] for rank in range(WORLD)]


@pytest.mark.parametrize("case", [case for case in CASES if case != "malicious"])
def test_the_slices_are_the_files_and_nothing_is_left_out(
    checkpoints: Path, out: Path, case: str
) -> None:
    wanted = getattr(torch, CASES[case])
    source = checkpoints / ("widened" if case.startswith("pickled") else case)
    ranks = [torch.load(out / f"{case}-{rank}.pt") for rank in range(WORLD)]
    weights = whole_weights(source)
    assert set().union(*ranks) == weights.keys()
    for name, tensor in weights.items():
        flat = tensor.view(-1).to(wanted)
        held = [ranks[rank][name] for rank in range(WORLD) if name in ranks[rank]]
        assert sum(len(values) for _, values in held) == len(flat), name
        for start, values in held:
            assert values.dtype == wanted
            assert torch.equal(values, flat[start : start + len(values)]), (name, start)


@pytest.mark.parametrize("case", ["bfloat16", "float32"])
def test_all_ranks_together_need_less_than_one_model_of_memory(out: Path, case: str) -> None:
    """Anonymous memory beyond the bare processes and the slices, at its peak in each rank."""
    model_bytes = 2 * sum(prod(shape) for shape in parameter_shapes(ARCHITECTURE).values())
    extra = 0
    for rank in measured(out, case):
        peak = max(phase["anonymous_bytes"] for phase in rank["phases"].values())
        extra += peak - rank["partition_bytes"]
    assert extra < model_bytes, f"{extra / model_bytes:.2f} models"


@pytest.mark.parametrize("case", ["bfloat16", "float32", "widened"])
def test_a_rank_reads_its_own_slices_and_the_headers(
    checkpoints: Path, out: Path, case: str
) -> None:
    ratio = STORED.get(case, torch.bfloat16).itemsize / getattr(torch, CASES[case]).itemsize
    files = list((checkpoints / case).glob("*.safetensors"))
    headers = sum(8 + int.from_bytes(file.read_bytes()[:8], "little") for file in files)
    for rank in measured(out, case):
        read = sum(phase["read_bytes"] for phase in rank["phases"].values())
        slices = rank["partition_bytes"] * ratio
        # Modules imported late, and the look-out itself, read a little, too.
        assert slices - 1 <= read <= slices + headers + 2 * MEGA


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_rows_of_new_pieces_arrive_as_the_means_of_old_ones(
    checkpoints: Path, out: Path, name: str
) -> None:
    """What both ranks hold of a table, put together, beside what it was made of."""
    old = whole_weights(checkpoints / "widened")[name]
    flat = torch.full((EXTENDED.vocab_size * EXTENDED.hidden_size,), torch.nan).bfloat16()
    for rank in range(WORLD):
        start, values = torch.load(out / f"extended-{rank}.pt")[name]
        assert 0 < len(values) < len(flat)
        flat[start : start + len(values)] = values
    table = flat.view(EXTENDED.vocab_size, -1)
    n = len(old)
    assert torch.equal(table[:n], old)
    for row, ids in zip(table[n:], SPELLINGS, strict=False):
        assert torch.equal(row, old[ids].float().mean(0).bfloat16())
    rest = table[n + len(SPELLINGS) :]
    assert torch.equal(rest, old.double().mean(0).float().bfloat16().expand_as(rest))


def test_a_pickle_that_would_run_code_is_refused_by_every_rank(
    checkpoints: Path, out: Path
) -> None:
    for rank in measured(out, "malicious"):
        assert "cannot be read as plain tensors" in rank["refused"]
    assert not (checkpoints / "owned").exists()
