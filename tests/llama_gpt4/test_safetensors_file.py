import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from llama_gpt4 import safetensors_file
from llama_gpt4.errors import InputError
from llama_gpt4.safetensors_file import (
    DTYPES,
    Outgoing,
    copy_slice,
    file_sha256,
    read_entries,
    write_file,
)


def outgoing(tensors: dict[str, Tensor], dtype: torch.dtype | None = None) -> list[Outgoing]:
    """Each tensor in two pieces."""
    return [
        Outgoing(
            name, dtype or tensor.dtype, tuple(tensor.shape), tensor.reshape(-1).tensor_split(2)
        )
        for name, tensor in tensors.items()
    ]


def library_reads(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read(path: Path, name: str, dtype: torch.dtype | None = None) -> Tensor:
    entry = read_entries(path)[name]
    target = torch.empty(entry.numel, dtype=dtype or entry.dtype)
    copy_slice(entry, 0, target)
    return target.view(entry.shape)


def of_dtype(dtype: torch.dtype, *shape: int) -> Tensor:
    numbers = torch.randn(shape) * 50
    return numbers > 0 if dtype is torch.bool else numbers.to(dtype)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "b.weight": torch.randn(7, 3, dtype=torch.bfloat16),
        "a.weight": torch.randn(5, dtype=torch.bfloat16),
        "c.weight": torch.randn(11, 13, dtype=torch.bfloat16),
    }


def test_the_library_reads_what_we_write(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    digest = write_file(path, outgoing(tensors))
    found = library_reads(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert digest == file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert struct.unpack("<Q", path.read_bytes()[:8])[0] % 8 == 0


def test_we_read_what_the_library_writes(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    assert read_entries(path).keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(read(path, name), tensor)


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_both_ways(name: str, tmp_path: Path) -> None:
    tensor = of_dtype(DTYPES[name], 3, 5)
    write_file(tmp_path / "ours", outgoing({"x": tensor, "empty": tensor[:0]}))
    found = library_reads(tmp_path / "ours")
    assert torch.equal(found["x"], tensor) and found["empty"].shape == (0, 5)
    save_file({"x": tensor}, tmp_path / "theirs")
    assert torch.equal(read(tmp_path / "theirs", "x"), tensor)


def test_it_is_the_librarys_file_byte_for_byte(tmp_path: Path) -> None:
    """In the order that the library chooses, one dtype: by name."""
    tensors = {name: torch.randn(4, 9) for name in ("a", "b", "c")}
    write_file(tmp_path / "ours", outgoing(tensors))
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("source", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("target", [torch.bfloat16, torch.float32])
def test_reading_casts_like_torch(source: torch.dtype, target: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.cat([torch.randn(1000) * 10**k for k in range(-9, 5)]).to(source)
    save_file({"x": tensor}, tmp_path / "x")
    assert torch.equal(read(tmp_path / "x", "x", target), tensor.to(target))


def test_writing_casts_like_torch(tmp_path: Path) -> None:
    tensor = torch.randn(10, 7)
    write_file(tmp_path / "x", outgoing({"x": tensor}, torch.bfloat16))
    assert torch.equal(library_reads(tmp_path / "x")["x"], tensor.bfloat16())


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, 999), n=st.integers(0, 1000), data=st.data())
def test_any_slice_is_that_slice(
    start: int, n: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At odd offsets, and over many borders of chunks that are far smaller than usual."""
    path = tmp_path_factory.getbasetemp() / "slices.safetensors"
    whole = torch.arange(1000, dtype=torch.float32).view(25, 40)
    if not path.exists():
        save_file({"before": torch.zeros(3), "x": whole}, path)
    n = min(n, 1000 - start)
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    chunk = data.draw(st.sampled_from([8, 12, 100, 4000, 2**24]))
    target = torch.full((n + 2,), -1.0, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(safetensors_file, "CHUNK_BYTES", chunk)
        copy_slice(read_entries(path)["x"], start, target[1 : n + 1])
    assert target[0] == target[-1] == -1
    assert torch.equal(target[1:-1], whole.view(-1)[start : start + n].to(dtype))


def test_a_target_with_gaps_is_filled(tmp_path: Path) -> None:
    save_file({"x": torch.arange(10.0)}, tmp_path / "x")
    target = torch.zeros(5, 2)[:, 0]
    copy_slice(read_entries(tmp_path / "x")["x"], 3, target)
    assert target.tolist() == [3, 4, 5, 6, 7]


def test_a_slice_across_the_real_chunk_border(tmp_path: Path) -> None:
    n = safetensors_file.CHUNK_BYTES // 2 + 1001
    whole = torch.arange(n, dtype=torch.int32).to(torch.int16).view(torch.float16)
    save_file({"x": whole}, tmp_path / "x")
    target = torch.empty(n - 501, dtype=torch.float32)
    copy_slice(read_entries(tmp_path / "x")["x"], 501, target)
    assert torch.equal(target.nan_to_num(), whole[501:].float().nan_to_num())


def test_a_short_answer_of_the_system_is_asked_again(
    tensors: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`read` may give less than it was asked for, on network file systems above all."""

    class Sluggish:
        def __init__(self, file: Any) -> None:
            self._file, self.name = file, file.name

        def readinto(self, buffer: memoryview) -> int:
            return self._file.readinto(buffer[:7])

    whole = safetensors_file._read_whole
    monkeypatch.setattr(
        safetensors_file, "_read_whole", lambda file, buffer: whole(Sluggish(file), buffer)
    )
    save_file(tensors, tmp_path / "x")
    assert torch.equal(read(tmp_path / "x", "c.weight"), tensors["c.weight"])


def test_writing_needs_no_memory_for_whole_tensors(tmp_path: Path) -> None:
    """Pieces are made as they are written, and cast a chunk at a time."""
    made = []

    def pieces() -> Any:
        for index in range(40):
            made.append(index)
            yield torch.zeros(2**18)

    tensor = Outgoing("x", torch.bfloat16, (40, 2**18), pieces())
    assert not made
    tracemalloc.start()
    write_file(tmp_path / "x", [tensor])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(made) == 40 and peak < 2**20
    assert read_entries(tmp_path / "x")["x"].shape == (40, 2**18)


def test_too_few_elements_are_a_bug_and_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="x: 12 of 16 bytes"):
        write_file(tmp_path / "x", [Outgoing("x", torch.float32, (4,), [torch.zeros(3)])])
    twice = outgoing({"x": torch.zeros(3)}) * 2
    with pytest.raises(AssertionError, match="two tensors of one name"):
        write_file(tmp_path / "x", twice)


def with_header(path: Path, header: Any, n_bytes: int = 64) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(n_bytes))


def described(**changes: Any) -> dict[str, Any]:
    return {"x": {"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 64], **changes}}


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "not a safetensors file"),
    "of_seven_bytes": (lambda p: p.write_bytes(b"1234567"), "not a safetensors file"),
    "lfs_pointer": (
        lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"),
        "not a safetensors file",
    ),
    "zip": (lambda p: torch.save({"x": torch.ones(9)}, p), "not a safetensors file"),
    "header_longer_than_the_file": (
        lambda p: p.write_bytes(struct.pack("<Q", 99) + b"{}"),
        "cut short",
    ),
    "no_json": (lambda p: with_header(p, b"{'x': 1}"), "damaged header"),
    "no_utf8": (lambda p: with_header(p, b'{"\xff\xfe": 1}'), "damaged header"),
    "a_list": (lambda p: with_header(p, [1, 2]), "damaged header"),
    "entry_of_a_number": (lambda p: with_header(p, {"x": 3}), "damaged header"),
    "without_dtype": (
        lambda p: with_header(p, {"x": {"shape": [1], "data_offsets": [0, 4]}}),
        "damaged header",
    ),
    "one_offset": (lambda p: with_header(p, described(data_offsets=[0])), "damaged header"),
    "negative_offset": (lambda p: with_header(p, described(data_offsets=[-64, 0])), "damaged"),
    "size_and_shape_differ": (lambda p: with_header(p, described(shape=[2, 7])), "damaged"),
    "negative_shape": (lambda p: with_header(p, described(shape=[-2, -8])), "damaged"),
    "shape_of_words": (lambda p: with_header(p, described(shape=["2", "8"])), "damaged"),
    "dtype_of_a_list": (lambda p: with_header(p, described(dtype=["F32"])), "damaged"),
    "nested_deep": (lambda p: with_header(p, b"[" * 100_000), "damaged header"),
    "unknown_dtype": (lambda p: with_header(p, described(dtype="F8_E4M3")), "F8_E4M3"),
    "tensors_cut_short": (
        lambda p: with_header(p, described(), 63),
        r"cut short: its tensors end at byte \d+, the file at \d+",
    ),
    "a_folder": (lambda p: p.mkdir(), "cannot be read"),
    "missing": (lambda p: None, "cannot be read"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_in_one_line(case: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    make, message = BROKEN[case]
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        read_entries(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(damage=st.binary(max_size=40), at=st.integers(0, 200))
def test_no_damage_is_a_bug(
    damage: bytes, at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    save_file({"x": torch.zeros(8), "y": torch.zeros(3, dtype=torch.float16)}, path)
    content = bytearray(path.read_bytes())
    content[at : at + len(damage)] = damage
    path.write_bytes(content)
    try:
        for entry in read_entries(path).values():
            copy_slice(entry, 0, torch.empty(min(entry.numel, 100)))
    except InputError as error:
        assert "\n" not in str(error)


def test_a_file_cut_after_its_header_was_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save_file({"x": torch.zeros(100)}, path)
    entry = read_entries(path)["x"]
    path.write_bytes(path.read_bytes()[:-1])
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(InputError, match="x is cut short"):
            copy_slice(entry, 0, torch.empty(100, dtype=dtype))
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        copy_slice(entry, 0, torch.empty(100))
