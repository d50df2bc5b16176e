"""Which sizes the model of a run has: those of the configuration, or of the weights it starts from."""

import json
from pathlib import Path

from llama_gpt4.architecture import LlamaConfig
from llama_gpt4.config import ModelConfig
from llama_gpt4.errors import InputError

PADDING_MULTIPLE = 64
"""Rows of a new embedding are padded to a multiple of this, which matrix units like."""


def from_sizes(model: ModelConfig, vocab_size: int) -> LlamaConfig:
    """A new model as the configuration describes it; `ModelConfig` has checked that it is whole."""
    assert model.hidden_size and model.n_heads and model.n_layers and model.feed_forward_size
    assert model.n_kv_heads and model.max_positions and model.rope_theta and model.norm_eps
    assert model.tie_embeddings is not None
    return LlamaConfig(
        vocab_size=-(-vocab_size // PADDING_MULTIPLE) * PADDING_MULTIPLE,
        hidden_size=model.hidden_size,
        feed_forward_size=model.feed_forward_size,
        n_layers=model.n_layers,
        n_heads=model.n_heads,
        n_kv_heads=model.n_kv_heads,
        head_size=model.hidden_size // model.n_heads,
        max_positions=model.max_positions,
        rope_theta=model.rope_theta,
        rope_scaling=None,
        norm_eps=model.norm_eps,
        tie_embeddings=model.tie_embeddings,
        initializer_std=model.initializer_std,
    )


def from_folder(folder: Path, model: ModelConfig) -> LlamaConfig:
    """The sizes in a folder's config.json; a size in the configuration that differs is an error."""
    path = folder / "config.json"
    try:
        found = LlamaConfig.from_hugging_face(json.loads(path.read_text()))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): is this a model?") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})") from error
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    for key in (
        "n_layers",
        "hidden_size",
        "feed_forward_size",
        "n_heads",
        "n_kv_heads",
        "max_positions",
        "rope_theta",
        "norm_eps",
        "tie_embeddings",
    ):
        wanted, there = getattr(model, key), getattr(found, key)
        if wanted is not None and wanted != there:
            raise InputError(
                f"model.{key}={wanted}, but {path} says {there}: with model=from_path every size "
                "comes from there"
            )
    return found
