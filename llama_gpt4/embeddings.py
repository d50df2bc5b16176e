"""Rows of the embeddings for new pieces: of each the mean of the rows that spelled it before.

It makes a folder of a folder and needs no process group: a training that starts from the new one,
at whatever ZeRO stage and number of ranks, reads its slices of these rows as of any others.

The head's rows beyond the last piece are the mean of all old rows, and so is their logit that of
all old logits: never above the largest, and drawn, since exp is convex, no likelier than an old
piece is on average. Rows of zeros would win where all logits are negative.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from llama_gpt4.architecture import LlamaConfig, parameter_shapes
from llama_gpt4.export import write_shards
from llama_gpt4.safetensors_file import Outgoing
from llama_gpt4.vocabulary import n_rows
from llama_gpt4.weights import StoredWeights, folder_weights

EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")
CHUNK_ELEMENTS = 2**20
SHARD_BYTES = 5 * 10**9


def write_extended(
    source: Path,
    architecture: LlamaConfig,
    n_old: int,
    spellings: Sequence[Sequence[int]],
    target: Path,
) -> None:
    """Write to `target` the weights of the model in `source`, whose tokenizer has `n_old` pieces,
    with a row for each of `spellings`: the old ids of a new piece.

    Tensors keep their precision; they pass through memory a few megabytes at a time.
    """
    weights = folder_weights(source, architecture)
    longer = replace(architecture, vocab_size=n_rows(n_old + len(spellings)))
    tensors = []
    for name, shape in parameter_shapes(longer).items():
        if name in EMBEDDINGS:
            pieces = _rows(weights, name, shape, n_old, spellings)
        else:
            pieces = _chunks(weights, name, prod(shape))
        tensors.append(Outgoing(name, weights.dtype(name), shape, pieces))
    write_shards(target, tensors, SHARD_BYTES)


def _rows(
    weights: StoredWeights,
    name: str,
    shape: tuple[int, ...],
    n_old: int,
    spellings: Sequence[Sequence[int]],
) -> Iterator[Tensor]:
    """The old rows, the new ones and those that fill `shape` (V, D) up, end to end."""
    n, width = shape
    total = torch.zeros(width, dtype=torch.float64)
    for chunk in _chunks(weights, name, n_old * width, CHUNK_ELEMENTS // width * width):
        total += chunk.view(-1, width).sum(0, dtype=torch.float64)
        yield chunk
    for ids in spellings:
        yield _slices(weights, name, ids, width).mean(0)
    for _ in range(n_old + len(spellings), n):
        yield (total / n_old).float()


def _slices(weights: StoredWeights, name: str, ids: Sequence[int], width: int) -> Tensor:
    """The rows `ids` (n, D) in float32."""
    rows = torch.empty(len(ids), width)
    for row, id in zip(rows, ids, strict=True):
        weights.fill(name, id * width, row)
    return rows


def _chunks(
    weights: StoredWeights, name: str, n: int, size: int = CHUNK_ELEMENTS
) -> Iterator[Tensor]:
    """The first `n` elements of a tensor in its own precision, `size` at a time."""
    for start in range(0, n, size):
        chunk = torch.empty(min(size, n - start), dtype=weights.dtype(name))
        weights.fill(name, start, chunk)
        yield chunk
