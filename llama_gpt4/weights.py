"""Where weights come from: random numbers, a Hugging Face folder, or a checkpoint of ours.

Each source fills any slice of any parameter, so that a rank reads the bytes of its own slices only.
"""

import json
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from llama_gpt4 import safetensors_file
from llama_gpt4.architecture import LlamaConfig, parameter_shapes
from llama_gpt4.errors import InputError
from llama_gpt4.model import initial_weights


class WeightSource(Protocol):
    def fill(self, name: str, start: int, target: Tensor) -> None:
        """Fill `target` (n,) with elements `start … start + n` of the flattened parameter."""


class RandomWeights:
    """Values that depend on the seed and the parameter's name, not on who holds which slice."""

    def __init__(self, architecture: LlamaConfig, seed: int) -> None:
        self._architecture, self._seed = architecture, seed
        self._shapes = parameter_shapes(architecture)

    def fill(self, name: str, start: int, target: Tensor) -> None:
        whole = initial_weights(self._architecture, name, self._shapes[name], self._seed)
        target.copy_(whole.view(-1)[start : start + target.numel()])


class SafetensorsWeights:
    """A folder with model.safetensors, or its shards."""

    def __init__(self, folder: Path, architecture: LlamaConfig) -> None:
        self._entries: dict[str, safetensors_file.Entry] = {}
        for file in _files(folder, "model.safetensors"):
            self._entries |= safetensors_file.read_entries(file)
        _require_shapes(
            folder, {name: entry.shape for name, entry in self._entries.items()}, architecture
        )

    def fill(self, name: str, start: int, target: Tensor) -> None:
        safetensors_file.copy_slice(self._entries[name], start, target)


class PickledWeights:
    """A folder with pytorch_model.bin, or its shards: tensors only, no code is ever run."""

    def __init__(self, folder: Path, architecture: LlamaConfig) -> None:
        self._tensors: dict[str, Tensor] = {}
        for file in _files(folder, "pytorch_model.bin"):
            try:
                self._tensors |= torch.load(file, map_location="cpu", mmap=True, weights_only=True)
            except Exception as error:
                raise InputError(
                    f"{file} cannot be read as plain tensors ({str(error).splitlines()[0]}): "
                    "fetch it anew, or use a safetensors copy"
                ) from error
        _require_shapes(
            folder,
            {name: tuple(tensor.shape) for name, tensor in self._tensors.items()},
            architecture,
        )

    def fill(self, name: str, start: int, target: Tensor) -> None:
        target.copy_(self._tensors[name].reshape(-1)[start : start + target.numel()])


def folder_weights(folder: Path, architecture: LlamaConfig) -> WeightSource:
    """The weights of a Hugging Face folder; `InputError` if it is incomplete or of other shapes."""
    kinds = (("model.safetensors", SafetensorsWeights), ("pytorch_model.bin", PickledWeights))
    for single, kind in kinds:
        if (folder / single).exists() or (folder / f"{single}.index.json").exists():
            return kind(folder, architecture)
    raise InputError(f"{folder} holds neither model.safetensors nor pytorch_model.bin, nor shards")


def _files(folder: Path, single: str) -> list[Path]:
    index = folder / f"{single}.index.json"
    if not index.exists():
        return [folder / single]
    files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    missing = [name for name in files if not (folder / name).exists()]
    if missing:
        raise InputError(f"{folder} lacks {missing[0]}, which {index.name} names: fetch it anew")
    return [folder / name for name in files]


def _require_shapes(
    folder: Path, found: dict[str, tuple[int, ...]], architecture: LlamaConfig
) -> None:
    for name, shape in parameter_shapes(architecture).items():
        if name not in found:
            raise InputError(f"{folder} has no {name}: its weights do not belong to its config")
        if found[name] != shape:
            raise InputError(
                f"{folder}: {name} has the shape {found[name]}, the configuration says {shape}"
            )
