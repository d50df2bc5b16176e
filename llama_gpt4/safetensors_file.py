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
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from llama_gpt4.errors import InputError

CHUNK_BYTES = 16 * 2**20
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
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


def read_entries(path: Path) -> dict[str, Entry]:
    """The tensors of a file by name; `InputError` if the file is cut short or no safetensors."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= size - 8:
            raise InputError(f"{path} is not a safetensors file, or it is cut short: fetch it anew")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise InputError(f"{path} has a damaged header: fetch it anew") from error
    header.pop("__metadata__", None)
    entries = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        if entry["dtype"] not in DTYPES:
            raise InputError(f"{path}: {name} has the dtype {entry['dtype']}, which LLaMA has not")
        if 8 + length + stop > size:
            raise InputError(
                f"{path} is cut short: {name} ends at byte {8 + length + stop:,}, the file at "
                f"{size:,}; fetch it anew"
            )
        entries[name] = Entry(
            path, DTYPES[entry["dtype"]], tuple(entry["shape"]), 8 + length + start
        )
    return entries


def copy_slice(entry: Entry, start: int, target: Tensor) -> None:
    """Fill `target` (n,) with elements `start … start + n` of the flattened tensor, cast to
    `target`'s dtype; reads those bytes only, `CHUNK_BYTES` at a time."""
    with open(entry.path, "rb", buffering=0) as file:
        file.seek(entry.offset + start * entry.dtype.itemsize)
        for begin in range(0, target.numel(), CHUNK_BYTES // 8):
            piece = target[begin : begin + CHUNK_BYTES // 8]
            buffer = bytearray(piece.numel() * entry.dtype.itemsize)
            if file.readinto(buffer) != len(buffer):
                raise InputError(f"{entry.path} is cut short: fetch it anew")
            piece.copy_(torch.frombuffer(buffer, dtype=entry.dtype))


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


def _blocks(head: bytes, tensors: list[Outgoing]) -> Iterator[bytes | memoryview]:
    yield head
    for tensor in tensors:
        written = 0
        for piece in tensor.pieces:
            data = piece.detach().to(device="cpu", dtype=tensor.dtype).contiguous()
            block = memoryview(data.view(torch.uint8).numpy())
            written += block.nbytes
            yield block
        assert written == tensor.n_bytes, f"{tensor.name}: {written} of {tensor.n_bytes} bytes"
