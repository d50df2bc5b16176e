"""Rotary positions: halves (a, b) of each head turn by an angle that grows with the position.

    a' = a cos - b sin        b' = b cos + a sin        ("rotate half", as in Hugging Face)
In whole heads that is y = x * cos + roll(x, K/2) * sin, where the first half of `sin` carries the
minus sign; backward is the same with -sin, so nothing but the tables is kept. Tables are fp32 and
so is the arithmetic, whatever the dtype of the heads: in bf16 an angle of 2000 is off by up to 4.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def inverse_frequencies(
    head_size: int, theta: float, scaling: Mapping[str, Any] | None, device: torch.device
) -> Tensor:
    """Angle by which each of the K/2 pairs turns per position: (K/2,) fp32.

    `scaling` is None, or Hugging Face's `linear` or `llama3` with its factors. Computed when it is
    needed and never stored: a buffer would be cast with the model, or by `deepspeed.zero.Init`.
    """
    exponents = torch.arange(0, head_size, 2, dtype=torch.float32, device=device) / head_size
    frequencies = 1.0 / (theta**exponents)
    if scaling is None:
        return frequencies
    factor = scaling["factor"]
    if scaling["rope_type"] == "linear":
        return frequencies / factor
    assert scaling["rope_type"] == "llama3", scaling
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    # Turns over the original context: many turns keep their speed, few are slowed down by
    # `factor`, and between `low` and `high` turns the two are mixed.
    turns = scaling["original_max_position_embeddings"] / (2 * math.pi / frequencies)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * frequencies / factor + kept * frequencies


def rope_tables(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """`positions` (N,), `frequencies` (K/2,) fp32 -> cos and signed sin, each (N, 1, K) fp32."""
    angles = positions.to(torch.float32).unsqueeze(-1) * frequencies
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1).unsqueeze(1), torch.cat((-sin, sin), -1).unsqueeze(1)


def _turn(heads: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
    turned = heads * cos
    rolled = heads.to(turned.dtype).roll(heads.shape[-1] // 2, -1)
    return turned.addcmul_(rolled, sin, value=direction).to(heads.dtype)


class _Rope(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cos, sin)
        return _turn(q, cos, sin, 1), _turn(k, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_q: Tensor, d_k: Tensor) -> tuple[Tensor, Tensor, None, None]:
        cos, sin = ctx.saved_tensors  # type: ignore[attr-defined]
        return _turn(d_q, cos, sin, -1), _turn(d_k, cos, sin, -1), None, None


def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Turn `q` (N, H, K) and `k` (N, Hkv, K) by the tables of `rope_tables`; dtypes are kept."""
    return _Rope.apply(q, k, cos, sin)
