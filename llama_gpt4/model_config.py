"""Which model is trained, and which tokenizer reads for it.

Values live in `conf/` only.
"""

from dataclasses import dataclass

from llama_gpt4.errors import InputError, require, require_one_of


@dataclass(kw_only=True)
class ModelConfig:
    """Which LLaMA. With `path`, sizes left null come from its config.json and others must agree."""

    path: str | None
    """Weights to start from: a folder in Hugging Face format, or a hub name; null: random ones."""
    n_layers: int | None
    hidden_size: int | None
    """D: width of the residual stream."""
    feed_forward_size: int | None
    """F: width of the SwiGLU feed-forward."""
    n_heads: int | None
    n_kv_heads: int | None
    """Heads of keys and values; fewer than `n_heads` is grouped-query attention."""
    max_positions: int | None
    """Longest sequence that the model is meant for."""
    rope_theta: float | None
    norm_eps: float | None
    tie_embeddings: bool | None
    initializer_std: float
    """Standard deviation of random weights; only read when `path` is null."""
    kernels: str
    """`fused` (Triton; needs a CUDA device) or `reference` (PyTorch, any device)."""
    attention: str
    """`sdpa` (PyTorch's, one call a document, any device); on CUDA also `varlen` (PyTorch's for
    packed documents), `flash_attn_2` or `flash_attn_3` (where those packages are installed)."""
    recompute: str
    """What the backward pass computes again to save memory: `none`; `lean`: what one elementwise
    kernel brings back; `attention`: all but attention; `full`: the whole layer."""

    def __post_init__(self) -> None:
        require_one_of("model.kernels", self.kernels, ("fused", "reference"))
        require_one_of(
            "model.attention", self.attention, ("sdpa", "varlen", "flash_attn_2", "flash_attn_3")
        )
        require_one_of("model.recompute", self.recompute, ("none", "lean", "attention", "full"))
        sizes = {
            "n_layers": self.n_layers,
            "hidden_size": self.hidden_size,
            "feed_forward_size": self.feed_forward_size,
            "n_heads": self.n_heads,
            "n_kv_heads": self.n_kv_heads,
            "max_positions": self.max_positions,
            "rope_theta": self.rope_theta,
            "norm_eps": self.norm_eps,
            "tie_embeddings": self.tie_embeddings,
        }
        missing = [key for key, value in sizes.items() if value is None]
        if self.path is None and missing:
            raise InputError(
                f"model.{missing[0]} is null: give it a value, or set model.path to weights that "
                "say their own sizes"
            )
        for key, value in sizes.items():
            if value is not None and key != "tie_embeddings":
                require(value > 0, f"model.{key}={value} must be positive")
        if self.hidden_size and self.n_heads:
            require(
                self.hidden_size % (2 * self.n_heads) == 0,
                f"model.hidden_size={self.hidden_size} must be an even multiple of "
                f"model.n_heads={self.n_heads}",
            )
        if self.n_heads and self.n_kv_heads:
            require(
                self.n_heads % self.n_kv_heads == 0,
                f"model.n_heads={self.n_heads} is not a multiple of "
                f"model.n_kv_heads={self.n_kv_heads}",
            )


@dataclass(kw_only=True)
class TokenizerConfig:
    """Where the tokenizer comes from: `path`, else `model.path`, else trained on the data."""

    path: str | None
    """A tokenizer.model or tokenizer.json, or its folder; null: the one beside `model.path`."""
    vocab_size: int
    """Pieces of the tokenizer that is trained on the data when there is no path at all."""
