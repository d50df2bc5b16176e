"""Causal attention of each document to itself in one launch: kernels from libraries, on CUDA.

PyTorch brings one for packed documents (`torch.nn.attention.varlen`); the packages flash-attn 2
and 3 have theirs. None takes fp32, and none needs a mask: they are told where documents begin.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

PACKAGES = {"flash_attn_2": "flash_attn", "flash_attn_3": "flash_attn_interface"}


@dataclass(frozen=True)
class Boundaries:
    """Where documents begin, for the layers of one forward pass."""

    starts: Tensor
    """(documents + 1,) int32 on the device: 0, and the sums of the lengths."""
    longest: int


Attention = Callable[[Tensor, Tensor, Tensor, Boundaries], Tensor]


def plan_attention(document_lengths: tuple[int, ...], device: torch.device) -> Boundaries:
    """What the functions of this file need to know about a micro-batch; made once for all layers.

    The copy to the device does not wait for it.
    """
    assert all(length > 0 for length in document_lengths), document_lengths
    starts = torch.tensor([0, *accumulate(document_lengths)], dtype=torch.int32)
    if device.type == "cuda":
        starts = starts.pin_memory().to(device, non_blocking=True)
    return Boundaries(starts, max(document_lengths))


def attention_of(name: str) -> Attention:
    """`varlen`, `flash_attn_2` or `flash_attn_3`; `ImportError` where it is not installed.

    What comes back takes q (N, H, K), k and v (N, Hkv, K) in bf16 or fp16 -> (N, H, K).
    """
    if name == "varlen":
        from torch.nn.attention.varlen import varlen_attn

        return partial(_varlen, varlen_attn, frozenset(inspect.signature(varlen_attn).parameters))
    return partial(_flash_attn, importlib.import_module(PACKAGES[name]).flash_attn_varlen_func)


def _varlen(
    call: Callable[..., Any],
    parameters: frozenset[str],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    documents: Boundaries,
) -> Tensor:
    # Causality was `is_causal` in torch 2.10; shared heads have a name since 2.12 only.
    options: dict[str, Any] = {}
    if "window_size" in parameters:
        options["window_size"] = (-1, 0)
    else:
        options["is_causal"] = True
    if k.shape[1] != q.shape[1]:
        if "enable_gqa" in parameters:
            options["enable_gqa"] = True
        else:
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    starts, longest = documents.starts, documents.longest
    return call(q, k, v, starts, starts, longest, longest, **options)


def _flash_attn(
    call: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor, documents: Boundaries
) -> Tensor:
    starts, longest = documents.starts, documents.longest
    # PyTorch's own switch, so that `deterministic` means the same whoever attends.
    out = call(
        q,
        k,
        v,
        starts,
        starts,
        longest,
        longest,
        causal=True,
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )
    return out[0] if isinstance(out, tuple) else out
