"""Sizes of a LLaMA for tests, of which each test names those that it is about."""

from typing import Any

from llama_gpt4.architecture import LlamaConfig

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "feed_forward_size": 56,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "max_positions": 128,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "norm_eps": 1e-6,
    "tie_embeddings": False,
    "initializer_std": 0.02,
}


def tiny_llama(**sizes: Any) -> LlamaConfig:
    """A model of two layers with grouped queries, but for `sizes`."""
    merged = SIZES | sizes
    return LlamaConfig(**{"head_size": merged["hidden_size"] // merged["n_heads"]} | merged)
