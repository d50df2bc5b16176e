"""What a LLaMA is made of, in plain numbers; `config.json` in and out. No torch here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError, require
from llama_gpt4.hub import local_snapshot
from llama_gpt4.model_config import ModelConfig

_ROPE_KEYS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": (
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
    ),
}

# Keys of config.json that change the mathematics, with the only value that this model computes.
_FIXED: dict[str, Any] = {
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}

_SIZES = (
    "n_layers",
    "hidden_size",
    "feed_forward_size",
    "n_heads",
    "n_kv_heads",
    "max_positions",
    "rope_theta",
    "norm_eps",
    "tie_embeddings",
)
"""What the training configuration may say about a model."""


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The sizes of one LLaMA."""

    vocab_size: int
    """V."""
    hidden_size: int
    """D: width of the residual stream."""
    feed_forward_size: int
    """F: width of the SwiGLU feed-forward."""
    n_layers: int
    n_heads: int
    """H."""
    n_kv_heads: int
    """Heads of keys and values; fewer than `n_heads` is grouped-query attention."""
    head_size: int
    """K."""
    max_positions: int
    rope_theta: float
    rope_scaling: dict[str, Any] | None
    """None, or `rope_type` (`linear`, `llama3`) with its factors under Hugging Face's names."""
    norm_eps: float
    tie_embeddings: bool
    """Whether the head's weight is the embedding's."""
    initializer_std: float

    def __post_init__(self) -> None:
        if self.n_heads % self.n_kv_heads:
            raise InputError(
                f"num_attention_heads={self.n_heads} is not a multiple of "
                f"num_key_value_heads={self.n_kv_heads}"
            )
        if self.head_size % 2:
            raise InputError(f"head_dim={self.head_size} is odd: rotary positions turn pairs")

    def to_hugging_face(
        self, dtype: str, bos_id: int, eos_id: int, pad_id: int | None
    ) -> dict[str, Any]:
        """The config.json of these sizes, under the keys that transformers 4 and 5 both read."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": bos_id,
            "dtype": dtype,
            "eos_token_id": eos_id,
            "head_dim": self.head_size,
            "hidden_act": "silu",
            "hidden_size": self.hidden_size,
            "initializer_range": self.initializer_std,
            "intermediate_size": self.feed_forward_size,
            "max_position_embeddings": self.max_positions,
            "mlp_bias": False,
            "num_attention_heads": self.n_heads,
            "num_hidden_layers": self.n_layers,
            "num_key_value_heads": self.n_kv_heads,
            "pad_token_id": pad_id,
            "rms_norm_eps": self.norm_eps,
            "rope_scaling": self.rope_scaling,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tie_embeddings,
            "use_cache": True,
            "vocab_size": self.vocab_size,
        }


def from_hugging_face(config: Mapping[str, Any]) -> LlamaConfig:
    """Read a config.json of transformers 4 or 5; refuse what this model would not compute."""
    for key, only in _FIXED.items():
        value = config.get(key, None if key == "model_type" else only)
        if value != only and not (value is None and key != "model_type"):
            raise InputError(f"config.json: {key}={value!r} is not supported, only {only!r} is")

    def size(key: str) -> int:
        value = config.get(key)
        if not isinstance(value, int) or value <= 0:
            raise InputError(f"config.json: {key}={value!r} must be a positive integer")
        return value

    n_heads, hidden_size = size("num_attention_heads"), size("hidden_size")
    head_size = config.get("head_dim") or hidden_size // n_heads
    if config.get("head_dim") is None and hidden_size % n_heads:
        raise InputError(
            f"config.json: hidden_size={hidden_size} is not a multiple of "
            f"num_attention_heads={n_heads}, and there is no head_dim"
        )
    theta, scaling = _read_rope(config)
    return LlamaConfig(
        vocab_size=size("vocab_size"),
        hidden_size=hidden_size,
        feed_forward_size=size("intermediate_size"),
        n_layers=size("num_hidden_layers"),
        n_heads=n_heads,
        n_kv_heads=config.get("num_key_value_heads") or n_heads,
        head_size=head_size,
        max_positions=config.get("max_position_embeddings", 2048),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_eps=config.get("rms_norm_eps", 1e-6),
        tie_embeddings=config.get("tie_word_embeddings", False),
        initializer_std=config.get("initializer_range", 0.02),
    )


def from_sizes(model: ModelConfig, vocab_size: int) -> LlamaConfig:
    """The model that the configuration describes without `model.path`."""
    sizes = {key: getattr(model, key) for key in _SIZES}
    assert None not in sizes.values(), sizes
    return LlamaConfig(
        **sizes,
        vocab_size=vocab_size,
        head_size=sizes["hidden_size"] // sizes["n_heads"],
        rope_scaling=None,
        initializer_std=model.initializer_std,
    )


def architecture_of(model: ModelConfig, vocab_size: int) -> LlamaConfig:
    """The model that the configuration names, for a tokenizer of `vocab_size` pieces."""
    if model.path is None:
        return from_sizes(model, vocab_size)
    architecture = from_path(local_snapshot(model.path), model)
    require(
        vocab_size <= architecture.vocab_size,
        f"the tokenizer has {vocab_size} pieces, model.path={model.path} only "
        f"{architecture.vocab_size} rows of embeddings: use the model's own tokenizer",
    )
    return architecture


def from_path(folder: Path, model: ModelConfig) -> LlamaConfig:
    """The model in `folder`; sizes that the configuration gives as well must agree."""
    architecture = from_hugging_face(described(folder))
    for key in _SIZES:
        ours, theirs = getattr(model, key), getattr(architecture, key)
        if ours is not None and ours != theirs:
            raise InputError(
                f"model.{key}={ours}, but {folder / 'config.json'} says {theirs}: leave the key "
                "null"
            )
    return architecture


def described(folder: Path) -> dict[str, Any]:
    """The config.json of the model in `folder`."""
    file = folder / "config.json"
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}): is model.path a model?") from error
    require(isinstance(content, dict), f"{file} is not the description of a model")
    return content


def hidden_size_of(folder: Path, model: ModelConfig, families: str) -> int:
    """D of the model in `folder`, which is a LLaMA, or where `families` is `any` maybe another."""
    content = described(folder)
    if families == "llama" or content.get("model_type") == "llama":
        return from_path(folder, model).hidden_size
    sizes = [content[key] for key in ("hidden_size", "n_embd", "d_model") if key in content]
    require(
        bool(sizes) and isinstance(sizes[0], int),
        f"{folder / 'config.json'} does not say the model's width as hidden_size, n_embd or "
        "d_model",
    )
    return sizes[0]


def _read_rope(config: Mapping[str, Any]) -> tuple[float, dict[str, Any] | None]:
    """Theta and scaling from `rope_parameters` (transformers 5) or `rope_theta`, `rope_scaling`."""
    where = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    given = dict(config.get(where) or {})
    theta = given.pop("rope_theta", None) or config.get("rope_theta") or 10000.0
    legacy_type = given.pop("type", "default")
    rope_type = given.pop("rope_type", legacy_type)
    if rope_type not in _ROPE_KEYS:
        raise InputError(
            f"config.json: {where}.rope_type={rope_type!r} is not one of {', '.join(_ROPE_KEYS)}"
        )
    if rope_type == "llama3":
        # Where transformers looks for it, in this order.
        outer = config.get("original_max_position_embeddings")
        inner = given.get("original_max_position_embeddings")
        longest = outer or inner or config.get("max_position_embeddings", 2048)
        given["original_max_position_embeddings"] = longest
    if given.get("partial_rotary_factor") == 1.0:
        del given["partial_rotary_factor"]
    wanted = _ROPE_KEYS[rope_type]
    for key in sorted(set(wanted) ^ set(given)):
        problem = "is missing" if key in wanted else "is not supported"
        raise InputError(f"config.json: {where}.{key} {problem} with rope_type={rope_type}")
    return float(theta), {"rope_type": rope_type, **given} if wanted else None


def parameter_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a checkpoint, in order; a tied head has none of its own."""
    d, f = config.hidden_size, config.feed_forward_size
    q, kv = config.n_heads * config.head_size, config.n_kv_heads * config.head_size
    layer = {
        "self_attn.q_proj.weight": (q, d),
        "self_attn.k_proj.weight": (kv, d),
        "self_attn.v_proj.weight": (kv, d),
        "self_attn.o_proj.weight": (d, q),
        "mlp.gate_proj.weight": (f, d),
        "mlp.up_proj.weight": (f, d),
        "mlp.down_proj.weight": (d, f),
        "input_layernorm.weight": (d,),
        "post_attention_layernorm.weight": (d,),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, d)}
    for index in range(config.n_layers):
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (d,)
    if not config.tie_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, d)
    return shapes


def n_parameters(config: LlamaConfig) -> int:
    """All weights of a model, those of norms and embeddings included."""
    return sum(prod(shape) for shape in parameter_shapes(config).values())


def model_flops(config: LlamaConfig, tokens: int, squared_lengths: int, target_rows: int) -> int:
    """Operations of one forward and backward pass over packed documents, without recomputation.

    A product of (n, a) with (a, b) is 2nab, and its backward twice that, so all is times 3. With
    N tokens, S the sum of the squared document lengths, M rows with a target:
        layer         2 N D (2 H K + 2 Hkv K + 3 F)      projections and feed-forward
        attention     2 H K (S + N)                      two products over (S + N) / 2 causal pairs
        last layer    as above, but with M rows in the output projection and the feed-forward
        head          2 M D V
    """
    d, f, layers = config.hidden_size, config.feed_forward_size, config.n_layers
    q, kv = config.n_heads * config.head_size, config.n_kv_heads * config.head_size
    before = 2 * d * (q + 2 * kv)
    after = 2 * d * (q + 3 * f)
    forward = layers * (tokens * before + 2 * q * (squared_lengths + tokens))
    forward += ((layers - 1) * tokens + target_rows) * after
    forward += target_rows * 2 * d * config.vocab_size
    return 3 * forward
