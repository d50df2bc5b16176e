"""The copy of the training state from which a checkpoint is written."""

import ctypes
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llama_gpt4.safetensors_file import write_file
from llama_gpt4.staging import Staging
from llama_gpt4.zero_state import MOMENTS, Fragment, Range

CPU = torch.device("cpu")


def fragment(name: str, start: int, n: int, device: str) -> Fragment:
    values = [torch.randn(n, device=device) for _ in range(3)]
    return Fragment(name, start, values[0], dict(zip(MOMENTS, values[1:], strict=True)))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_what_is_written_is_what_was_there_when_it_was_copied(device: str, tmp_path: Path) -> None:
    fragments = [fragment("a", 0, 5, device), fragment("b", 7, 1000, device)]
    staging = Staging([Range("a", 0, 5), Range("b", 7, 1000)], torch.device(device))
    staging.fill(fragments, staging.mark())
    truth = {f"{f.name}:{f.start}:master": f.master.clone() for f in fragments}
    for f in fragments:
        truth |= {f"{f.name}:{f.start}:{kind}": f.moments[kind].clone() for kind in MOMENTS}
        f.master.zero_()  # training goes on
        f.moments["exp_avg"].zero_()
    write_file(tmp_path / "file", staging.tensors())
    written = load_file(tmp_path / "file")
    assert written.keys() == truth.keys()
    assert all(torch.equal(written[key], values.cpu()) for key, values in truth.items())
    staging.close()


def test_it_takes_twelve_bytes_an_element_and_takes_them_at_once() -> None:
    n = 4_000_000
    ctypes.CDLL(None).malloc_trim(0)  # else it may get what was freed before, and is still resident
    before = resident_bytes()
    staging = Staging([Range("a", 0, n)], CPU)
    assert staging.n_bytes == 12 * n
    assert resident_bytes() - before > 0.9 * staging.n_bytes


def test_a_rank_without_a_part_has_none() -> None:
    staging = Staging([], CPU)
    staging.fill([], staging.mark())
    assert staging.n_bytes == 0 and staging.tensors() == []


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
