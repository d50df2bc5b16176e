"""Safetensors files read and written piece by piece, so that no tensor is ever whole in memory.

The format: 8 bytes little-endian header length, a JSON header of `{name: {dtype, shape,
data_offsets}}`, then the raw bytes (github.com/huggingface/safetensors). The library's own reader
maps whole files and its writer wants all tensors at once; a checkpoint of a model that fills the
machine can afford neither.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_gpt4.errors import InputError

CHUNK_BYTES = 16 * 2**20
MAX_HEADER_BYTES = 100_000_000
"""The library's own limit: a longer header is no header."""
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies in a file; `offset` counts bytes from the file's start."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def stop(self) -> int:
        return self.offset + self.numel * self.dtype.itemsize


def read_entries(path: Path) -> dict[str, Entry]:
    """The tensors of a file by name; `InputError` if the file is cut short or no safetensors."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
                raise InputError(
                    f"{path} is not a safetensors file, or it is cut short: fetch it anew"
                )
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            entries = {name: _entry(path, 8 + length, entry) for name, entry in header.items()}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} has a damaged header: fetch it anew") from error
    end = max((entry.stop for entry in entries.values()), default=0)
    if end > size:
        raise InputError(
            f"{path} is cut short: its tensors end at byte {end:,}, the file at {size:,}; "
            "fetch it anew"
        )
    return entries


def copy_slice(entry: Entry, start: int, target: Tensor) -> None:
    """Fill `target` (n,) with elements `start … start + n` of the flattened tensor, cast to
    `target`'s dtype; reads those bytes only, `CHUNK_BYTES` at a time or straight into `target`."""
    n, itemsize = target.numel(), entry.dtype.itemsize
    assert 0 <= start <= start + n <= entry.numel, (entry, start, n)
    is_direct = target.dtype == entry.dtype and target.device.type == "cpu"
    step = CHUNK_BYTES // itemsize
    try:
        with open(entry.path, "rb", buffering=0) as file:
            file.seek(entry.offset + start * itemsize)
            if is_direct and target.is_contiguous():
                _read_whole(file, _bytes_of(target))
                return
            buffer = torch.empty(min(n, step), dtype=entry.dtype)
            for piece in target.split(step) if n else ():
                read = buffer[: piece.numel()]
                _read_whole(file, _bytes_of(read))
                piece.copy_(read)
    except OSError as error:
        raise InputError(f"{entry.path} cannot be read ({error.strerror})") from error


@dataclass(frozen=True)
class Outgoing:
    """One tensor to write: `pieces` yields its flattened elements in order, 1-D each."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    pieces: Iterable[Tensor]

    @property
    def n_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def write_file(path: Path, tensors: list[Outgoing]) -> str:
    """Write `tensors` to `path`, flushed to the disk; the SHA-256 of the file."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.n_bytes],
        }
        offset += tensor.n_bytes
    assert len(header) == len(tensors) + 1, "two tensors of one name"
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for block in _blocks(struct.pack("<Q", len(text)) + text, tensors):
            file.write(block)
            digest.update(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(path: Path, data_start: int, described: dict[str, Any]) -> Entry:
    """One line of a header; `ValueError` if it contradicts itself."""
    start, stop = described["data_offsets"]
    shape = tuple(described["shape"])
    if described["dtype"] not in DTYPES:
        raise InputError(
            f"{path} has tensors of the type {described['dtype']}, which a LLaMA has not: "
            f"convert them to one of {', '.join(DTYPES)}"
        )
    dtype = DTYPES[described["dtype"]]
    if start < 0 or min(shape, default=0) < 0 or stop - start != prod(shape) * dtype.itemsize:
        raise ValueError(described)
    return Entry(path, dtype, shape, data_start + start)


def _read_whole(file: FileIO, buffer: memoryview) -> None:
    """Fill `buffer`; the system may give less than was asked for, and at most 2 GiB, at a time."""
    done = 0
    while done < len(buffer):
        n = file.readinto(buffer[done:])
        if not n:
            raise InputError(f"{file.name} is cut short: fetch it anew")
        done += n


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor (n,) on the CPU."""
    return tensor.detach().view(torch.uint8).numpy().data


def _blocks(head: bytes, tensors: list[Outgoing]) -> Iterator[bytes | memoryview]:
    yield head
    for tensor in tensors:
        written = 0
        for piece in tensor.pieces:
            for part in piece.detach().split(CHUNK_BYTES // 8):
                block = _bytes_of(part.to(device="cpu", dtype=tensor.dtype).contiguous())
                written += block.nbytes
                yield block
        assert written == tensor.n_bytes, f"{tensor.name}: {written} of {tensor.n_bytes} bytes"
