"""Where weights come from: random numbers, a Hugging Face folder, or a checkpoint of ours.

Each source fills any slice of any parameter, so that a rank reads the bytes of its own slices only.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from llama_gpt4 import safetensors_file
from llama_gpt4.architecture import LlamaConfig, parameter_shapes
from llama_gpt4.errors import InputError
from llama_gpt4.hub import weight_files
from llama_gpt4.model import initial_weights

DAMAGED_PICKLE = (
    pickle.UnpicklingError,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
"""What torch.load has raised on files with flipped bits."""


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
        for file in weight_files(folder, "model.safetensors"):
            self._entries |= safetensors_file.read_entries(file)
        _require_shapes(folder, self._entries, architecture)

    def fill(self, name: str, start: int, target: Tensor) -> None:
        safetensors_file.copy_slice(self._entries[name], start, target)

    def dtype(self, name: str) -> torch.dtype:
        return self._entries[name].dtype


class PickledWeights:
    """A folder with pytorch_model.bin, or its shards: tensors only, no code is ever run.

    The files are mapped, so that a process reads the pages that it copies from and no others.
    """

    def __init__(self, folder: Path, architecture: LlamaConfig) -> None:
        self._tensors: dict[str, Tensor] = {}
        for file in weight_files(folder, "pytorch_model.bin"):
            self._tensors |= _unpickled(file)
        _require_shapes(folder, self._tensors, architecture)

    def fill(self, name: str, start: int, target: Tensor) -> None:
        target.copy_(self._tensors[name].reshape(-1)[start : start + target.numel()])

    def dtype(self, name: str) -> torch.dtype:
        return self._tensors[name].dtype


StoredWeights = SafetensorsWeights | PickledWeights


def folder_weights(folder: Path, architecture: LlamaConfig) -> StoredWeights:
    """The weights of a Hugging Face folder; `InputError` if it is incomplete or of other shapes.

    Tensors that the model does not have are left alone: old checkpoints hold rotary tables, and a
    tied one may hold its head twice.
    """
    kinds: dict[str, type[StoredWeights]] = {
        "model.safetensors": SafetensorsWeights,
        "pytorch_model.bin": PickledWeights,
    }
    for single, kind in kinds.items():
        if (folder / single).exists() or (folder / f"{single}.index.json").exists():
            return kind(folder, architecture)
    raise InputError(f"{folder} holds neither model.safetensors nor pytorch_model.bin, nor shards")


def _unpickled(file: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except DAMAGED_PICKLE as error:
        # torch's own text would advise to let the file run its code.
        raise InputError(
            f"{file} cannot be read as plain tensors: it is damaged, older than PyTorch 1.6 or "
            "holds something else; fetch it anew, or use a safetensors copy"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{file} is not a dictionary of tensors: use a safetensors copy")
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _require_shapes(
    folder: Path,
    found: Mapping[str, safetensors_file.Entry] | Mapping[str, Tensor],
    architecture: LlamaConfig,
) -> None:
    for name, shape in parameter_shapes(architecture).items():
        if name not in found:
            raise InputError(f"{folder} has no {name}: its weights do not belong to its config")
        held = found[name]
        found_shape = tuple(held.shape)
        if found_shape != shape:
            raise InputError(
                f"{folder}: {name} has the shape {found_shape}, the configuration says {shape}"
            )
        if not held.dtype.is_floating_point:
            raise InputError(
                f"{folder}: {name} is of {held.dtype}: quantised weights cannot be trained, use "
                "the original ones"
            )
