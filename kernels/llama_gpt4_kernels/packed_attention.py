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

from llama_gpt4_kernels.attention import rows_seen

PACKAGES = {"flash_attn_2": "flash_attn", "flash_attn_3": "flash_attn_interface"}


@dataclass(frozen=True)
class Boundaries:
    """Where documents and what they see begin, for the layers of one forward pass."""

    starts: Tensor
    """(documents + 1,) int32 on the device: 0, and the sums of the lengths."""
    longest: int
    keys: Tensor | None
    """(keys,) int32: for each document the rows of its prefix, then its own; None: without any
    prefix they are all rows in their order."""
    key_starts: Tensor
    """As `starts`, in `keys`."""
    longest_keys: int

    def seen(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """`k` and `v` (N, Hkv, K) as the documents see them, (keys, Hkv, K)."""
        if self.keys is None:
            return k, v
        return k.index_select(0, self.keys), v.index_select(0, self.keys)


Attention = Callable[[Tensor, Tensor, Tensor, Boundaries], Tensor]


def plan_attention(
    document_lengths: tuple[int, ...], device: torch.device, prefixes: tuple[range, ...] = ()
) -> Boundaries:
    """What the functions of this file need to know about a micro-batch; made once for all layers.

    `prefixes` are rows before a document that it sees as well, for each document or for none. The
    libraries align causality at the last query and the last key, as it has to be.
    """
    rows = rows_seen(document_lengths, prefixes)
    starts, longest = _on(device, [0, *accumulate(document_lengths)]), max(document_lengths)
    if not any(prefixes):
        return Boundaries(starts, longest, None, starts, longest)
    sizes = [len(prefix) + len(own) for prefix, own in rows]
    return Boundaries(
        starts,
        longest,
        keys=_on(device, [row for pair in rows for part in pair for row in part]),
        key_starts=_on(device, [0, *accumulate(sizes)]),
        longest_keys=max(sizes),
    )


def _on(device: torch.device, numbers: list[int]) -> Tensor:
    """int32; the copy to the device does not wait for it."""
    here = torch.tensor(numbers, dtype=torch.int32)
    return (here.pin_memory() if device.type == "cuda" else here).to(device, non_blocking=True)


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
    return call(q, *documents.seen(k, v), *_bounds(documents), **options)


def _flash_attn(
    call: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor, documents: Boundaries
) -> Tensor:
    # PyTorch's own switch, so that `deterministic` means the same whoever attends.
    out = call(
        q,
        *documents.seen(k, v),
        *_bounds(documents),
        causal=True,
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )
    return out[0] if isinstance(out, tuple) else out


def _bounds(documents: Boundaries) -> tuple[Tensor, Tensor, int, int]:
    return documents.starts, documents.key_starts, documents.longest, documents.longest_keys
