"""Checkpoints of any size with random weights, for what is measured on them."""

import json
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from llama_gpt4.architecture import LlamaConfig, parameter_shapes
from llama_gpt4.safetensors_file import Outgoing, write_file

MEGA = 10**6


def write_checkpoint(
    folder: Path, architecture: LlamaConfig, dtype: torch.dtype, shard_bytes: int
) -> None:
    """A Hugging Face folder of random weights, of which a few megabytes are in memory at a time."""
    folder.mkdir(parents=True)
    name = str(dtype).removeprefix("torch.")
    described = architecture.to_hugging_face(name, bos_id=1, eos_id=2, pad_id=0)
    (folder / "config.json").write_text(json.dumps(described))
    shards: list[list[Outgoing]] = [[]]
    for name, shape in parameter_shapes(architecture).items():
        tensor = Outgoing(name, dtype, shape, random_pieces(name, prod(shape)))
        if sum(other.n_bytes for other in shards[-1]) + tensor.n_bytes > shard_bytes and shards[-1]:
            shards.append([])
        shards[-1].append(tensor)
    weight_map = {}
    for number, tensors in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_file(folder / file, tensors)
        weight_map |= {tensor.name: file for tensor in tensors}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def random_pieces(name: str, numel: int) -> Iterator[Tensor]:
    """Values that differ from one parameter, and from one piece of it, to the next."""
    block = torch.randn(2**20, generator=torch.Generator().manual_seed(0)) * 0.02
    for start in range(0, numel, len(block)):
        turned = block.roll(zlib.crc32(f"{name}:{start}".encode()) % len(block))
        yield turned[: numel - start]
