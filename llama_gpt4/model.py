"""LLaMA over packed documents, named as in Hugging Face: the state dict is the checkpoint.

Tokens of all documents of a micro-batch lie end to end; there is no padding and no mask.
Shapes: N tokens, M rows with a target, D hidden, H heads, Hkv heads of keys and values, K head
size, F feed-forward, V vocabulary. ZeRO-3 gathers a parameter around the forward of the module that
holds it, so each one is used there and nowhere else.
"""

import hashlib
from typing import Any

import torch
import torch.nn.functional as F
from llama_gpt4_kernels.operators import Operators
from llama_gpt4_kernels.rope import inverse_frequencies
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from llama_gpt4.architecture import LlamaConfig


class Linear(nn.Module):
    """y = x W^T. Without values of its own: a loader fills every weight."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


class Embedding(nn.Module):
    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, hidden_size))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.weight)


class RMSNorm(nn.Module):
    def __init__(self, config: LlamaConfig, ops: Operators) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.hidden_size))
        self.eps = config.norm_eps
        self.ops = ops

    def forward(self, hidden: Tensor) -> Tensor:
        return self.ops.rms_norm(hidden, self.weight, self.eps)


class Attention(nn.Module):
    """Causal self-attention within each document; keys and values may be shared by heads."""

    def __init__(self, config: LlamaConfig, ops: Operators) -> None:
        super().__init__()
        q_size = config.n_heads * config.head_size
        kv_size = config.n_kv_heads * config.head_size
        self.head_size = config.head_size
        self.ops = ops
        self.q_proj = Linear(config.hidden_size, q_size)
        self.k_proj = Linear(config.hidden_size, kv_size)
        self.v_proj = Linear(config.hidden_size, kv_size)
        self.o_proj = Linear(q_size, config.hidden_size)

    def forward(
        self, hidden: Tensor, tables: tuple[Tensor, Tensor], documents: Any, rows: Tensor | None
    ) -> Tensor:
        """`hidden` (N, D) -> (N, D), or (M, D) for `rows` (M,) alone."""
        q = self.q_proj(hidden).unflatten(-1, (-1, self.head_size))  # (N, H, K)
        k = self.k_proj(hidden).unflatten(-1, (-1, self.head_size))  # (N, Hkv, K)
        v = self.v_proj(hidden).unflatten(-1, (-1, self.head_size))
        q, k = self.ops.rope(q, k, *tables)
        mixed = self.ops.attention(q, k, v, documents).flatten(1)  # (N, HK)
        if rows is not None:
            mixed = mixed.index_select(0, rows)
        return self.o_proj(mixed)


class FeedForward(nn.Module):
    def __init__(self, config: LlamaConfig, ops: Operators) -> None:
        super().__init__()
        self.ops = ops
        self.gate_proj = Linear(config.hidden_size, config.feed_forward_size)
        self.up_proj = Linear(config.hidden_size, config.feed_forward_size)
        self.down_proj = Linear(config.feed_forward_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down_proj(self.ops.swiglu(self.gate_proj(hidden), self.up_proj(hidden)))


class Layer(nn.Module):
    """Attention and feed-forward, each added to the residual stream.

    Ends in a plain product and sum on purpose: checkpointing stops its replay early, before the
    last product, only where no autograd.Function of our own comes last.
    """

    def __init__(self, config: LlamaConfig, ops: Operators) -> None:
        super().__init__()
        self.self_attn = Attention(config, ops)
        self.mlp = FeedForward(config, ops)
        self.input_layernorm = RMSNorm(config, ops)
        self.post_attention_layernorm = RMSNorm(config, ops)

    def forward(
        self, hidden: Tensor, tables: tuple[Tensor, Tensor], documents: Any, rows: Tensor | None
    ) -> Tensor:
        """`hidden` (N, D) -> (N, D), or (M, D) for `rows` (M,) alone."""
        mixed = self.self_attn(self.input_layernorm(hidden), tables, documents, rows)
        if rows is not None:
            hidden = hidden.index_select(0, rows)
        hidden = hidden + mixed
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Decoder(nn.Module):
    """Tokens in, normed hidden states out."""

    def __init__(self, config: LlamaConfig, ops: Operators, recompute: str) -> None:
        super().__init__()
        self.config = config
        self.ops = ops
        self.recompute = recompute
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, ops) for _ in range(config.n_layers))
        self.norm = RMSNorm(config, ops)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        document_lengths: tuple[int, ...],
        rows: Tensor | None,
    ) -> Tensor:
        """`tokens`, `positions` (N,) -> (N, D), or (M, D) for `rows` (M,) alone.

        Rows without a target matter to others through keys and values only, so the last layer
        drops them right after its attention.
        """
        config = self.config
        frequencies = inverse_frequencies(
            config.head_size, config.rope_theta, config.rope_scaling, tokens.device
        )
        tables = self.ops.rope_tables(positions, frequencies)
        documents = self.ops.plan_attention(document_lengths, tokens.device)
        hidden = self.embed_tokens(tokens)
        for index, layer in enumerate(self.layers):
            inputs = (hidden, tables, documents, rows if index == len(self.layers) - 1 else None)
            if self.recompute == "full" and torch.is_grad_enabled():
                hidden = checkpoint(layer, *inputs, use_reentrant=False, preserve_rng_state=False)
            else:
                hidden = layer(*inputs)
        return self.norm(hidden)


class Head(nn.Module):
    """The output projection, and the loss with it: under ZeRO-3 its weight exists only in here."""

    def __init__(self, weight: nn.Parameter, ops: Operators) -> None:
        super().__init__()
        self.weight = weight
        self.ops = ops

    def forward(
        self, hidden: Tensor, targets: Tensor | None = None, weights: Tensor | None = None
    ) -> Tensor:
        """`hidden` (M, D) -> logits (M, V); with `targets`, `weights` (M,) the loss, a scalar."""
        if targets is None or weights is None:
            return F.linear(hidden, self.weight)
        return self.ops.linear_cross_entropy(hidden, self.weight, targets, weights)


class Llama(nn.Module):
    """The language model. `recompute`: `none` keeps every activation, `full` one a layer."""

    def __init__(self, config: LlamaConfig, ops: Operators, recompute: str) -> None:
        super().__init__()
        assert recompute in ("none", "full"), recompute
        self.config = config
        self.model = Decoder(config, ops, recompute)
        if config.tie_embeddings:
            weight = self.model.embed_tokens.weight
        else:
            weight = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.lm_head = Head(weight, ops)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        document_lengths: tuple[int, ...],
        target_rows: Tensor | None = None,
        targets: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Sum of `weights` times negative log-likelihood: a scalar in fp32.

        `tokens`, `positions` (N,) of documents that lie end to end; `target_rows` (M,), each at
        most once, are the rows whose next token is learned, `targets` (M,) those tokens, `weights`
        (M,) fp32. Without `target_rows`: logits (N, V).
        """
        assert sum(document_lengths) == len(tokens) == len(positions), document_lengths
        hidden = self.model(tokens, positions, document_lengths, target_rows)
        return self.lm_head(hidden, targets, weights)


def initial_weights(config: LlamaConfig, name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Starting values of one parameter (fp32, on the CPU): ones for norms, else normal.

    They follow from the seed and the name alone, so no order, rank or ZeRO stage can change them.
    """
    if name.endswith("norm.weight"):
        return torch.ones(shape)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.empty(shape).normal_(0.0, config.initializer_std, generator=generator)
