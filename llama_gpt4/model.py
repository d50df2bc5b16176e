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
from llama_gpt4_kernels.reference import REFERENCE
from llama_gpt4_kernels.rope import inverse_frequencies
from torch import Tensor, nn

from llama_gpt4.architecture import LlamaConfig
from llama_gpt4.recompute import LAYER_RUNNERS, Replay, keep_all


class Linear(nn.Module):
    """y = x W^T. Without values of its own: a loader fills every weight."""

    def __init__(self, inputs: int, outputs: int, *, ends_replay: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.ends_replay = ends_replay

    def forward(self, x: Tensor) -> Tensor:
        # Under ZeRO-3 F.linear is DeepSpeed's, an autograd.Function that lets go of the gathered
        # weight. A replay stops before its last product only if that is a plain one; a replay
        # keeps no weight anyway.
        return torch.mm(x, self.weight.t()) if self.ends_replay else F.linear(x, self.weight)


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

    def forward(
        self, hidden: Tensor, delta: Tensor | None, replay: Replay | None
    ) -> tuple[Tensor, Tensor]:
        """`hidden` and what is to be added to it, (N, D) -> their sum, and the sum normed."""
        hidden, normed = self.ops.add_rms_norm(hidden, delta, self.weight, self.eps)
        if replay is not None:
            # A copy: in the backward pass of whoever reads `normed`, ZeRO-3 may have this weight
            # partitioned.
            weight, kept = self.weight.detach().clone(), hidden.detach()
            replay.instead_of(lambda: self._normed(kept, weight), normed)
        return hidden, normed

    def _normed(self, hidden: Tensor, weight: Tensor) -> tuple[Tensor]:
        return (self.ops.add_rms_norm(hidden, None, weight, self.eps)[1],)


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
        self,
        hidden: Tensor,
        tables: tuple[Tensor, Tensor],
        documents: Any,
        rows: Tensor | None,
        replay: Replay | None,
    ) -> Tensor:
        """`hidden` (N, D) -> (N, D), or (M, D) for `rows` (M,) alone."""
        q, k, v = self._heads(hidden, tables)
        if replay is not None and replay.with_heads:
            source = replay.source_of(hidden)
            replay.instead_of(lambda: self._heads(source(), tables), q, k, v)
        mixed = self.ops.attention(q, k, v, documents).flatten(1)  # (N, HK)
        if rows is not None:
            mixed = mixed.index_select(0, rows)
        return self.o_proj(mixed)

    def _heads(
        self, hidden: Tensor, tables: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Turned queries (N, H, K), turned keys and values (N, Hkv, K)."""
        q, k, v = (
            project(hidden).unflatten(-1, (-1, self.head_size))
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        return *self.ops.rope(q, k, *tables), v


class FeedForward(nn.Module):
    def __init__(self, config: LlamaConfig, ops: Operators, recompute: str) -> None:
        super().__init__()
        self.ops = ops
        is_replayed = recompute in ("attention", "full")
        self.gate_proj = Linear(config.hidden_size, config.feed_forward_size)
        self.up_proj = Linear(config.hidden_size, config.feed_forward_size)
        self.down_proj = Linear(
            config.feed_forward_size, config.hidden_size, ends_replay=is_replayed
        )

    def forward(self, hidden: Tensor, replay: Replay | None) -> Tensor:
        gate, up = self.gate_proj(hidden), self.up_proj(hidden)
        gated = self.ops.swiglu(gate, up)
        if replay is not None:
            kept = gate.detach(), up.detach()
            replay.instead_of(lambda: (self.ops.swiglu(*kept),), gated)
        return self.down_proj(gated)


class Layer(nn.Module):
    """Attention and feed-forward, each added to the residual stream by the norm that follows it."""

    def __init__(self, config: LlamaConfig, ops: Operators, recompute: str) -> None:
        super().__init__()
        self.run = LAYER_RUNNERS[recompute]
        self.self_attn = Attention(config, ops)
        self.mlp = FeedForward(config, ops, recompute)
        self.input_layernorm = RMSNorm(config, ops)
        self.post_attention_layernorm = RMSNorm(config, ops)

    def forward(
        self,
        hidden: Tensor,
        delta: Tensor | None,
        tables: tuple[Tensor, Tensor],
        documents: Any,
        rows: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """`hidden`, `delta` (N, D) -> the same two for what follows; (M, D) for `rows` (M,)."""
        run = self.run if torch.is_grad_enabled() else keep_all
        return run(self, hidden, delta, tables, documents, rows)

    def attend(
        self,
        hidden: Tensor,
        delta: Tensor | None,
        tables: tuple[Tensor, Tensor],
        documents: Any,
        rows: Tensor | None,
        replay: Replay | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The first half."""
        hidden, normed = self.input_layernorm(hidden, delta, replay)
        mixed = self.self_attn(normed, tables, documents, rows, replay)
        if rows is not None:
            hidden = hidden.index_select(0, rows)
        return hidden, mixed

    def feed(
        self, hidden: Tensor, delta: Tensor, replay: Replay | None = None
    ) -> tuple[Tensor, Tensor]:
        """The second half."""
        hidden, normed = self.post_attention_layernorm(hidden, delta, replay)
        return hidden, self.mlp(normed, replay)


class Decoder(nn.Module):
    """Tokens in, normed hidden states out."""

    def __init__(self, config: LlamaConfig, ops: Operators, recompute: str) -> None:
        super().__init__()
        self.config = config
        self.ops = ops
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, ops, recompute) for _ in range(config.n_layers))
        self.norm = RMSNorm(config, ops)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        document_lengths: tuple[int, ...],
        rows: Tensor | None,
        prefixes: tuple[range, ...] = (),
    ) -> Tensor:
        """`tokens`, `positions` (N,) -> (N, D), or (M, D) for `rows` (M,) alone.

        `prefixes` are rows before a document that it attends to as well, for each document or for
        none. Rows without a target matter to others through keys and values only, so the last layer
        drops them right after its attention.
        """
        config = self.config
        frequencies = inverse_frequencies(
            config.head_size, config.rope_theta, config.rope_scaling, tokens.device
        )
        tables = self.ops.rope_tables(positions, frequencies)
        documents = self.ops.plan_attention(document_lengths, tokens.device, prefixes)
        hidden, delta = self.embed_tokens(tokens), None
        for index, layer in enumerate(self.layers):
            layer_rows = rows if index == len(self.layers) - 1 else None
            hidden, delta = layer(hidden, delta, tables, documents, layer_rows)
        return self.norm(hidden, delta, None)[1]


def reference_decoder(config: LlamaConfig) -> Decoder:
    """A decoder with the operators that run anywhere."""
    return Decoder(config, REFERENCE, "none")


class Head(nn.Module):
    """The output projection, and the loss with it: under ZeRO-3 its weight exists only in here."""

    def __init__(self, weight: nn.Parameter, ops: Operators) -> None:
        super().__init__()
        self.weight = weight
        self.ops = ops

    def forward(
        self, hidden: Tensor, targets: Tensor | None = None, weights: Tensor | None = None
    ) -> Tensor:
        """`hidden` (M, D) -> logits (M, V); with `targets` (M,) their log-probabilities (M,); with
        `weights` (M,) as well the loss, a scalar."""
        if targets is None:
            return F.linear(hidden, self.weight)
        if weights is None:
            return self.ops.token_log_probabilities(hidden, self.weight, targets)
        return self.ops.linear_cross_entropy(hidden, self.weight, targets, weights)


class Llama(nn.Module):
    """The language model. `recompute` names one of `LAYER_RUNNERS`."""

    def __init__(self, config: LlamaConfig, ops: Operators, recompute: str) -> None:
        super().__init__()
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
