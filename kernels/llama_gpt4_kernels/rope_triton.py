"""`rope` in Triton: queries and keys in one launch, forward and backward.

A program turns a few heads of one token and reads that token's angles once: (K/2,) cos and sin in
fp32, not doubled as in the plain twin's tables. Backward turns the other way. Bytes a token: all
H + Hkv heads read and written once.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def launch_constants(n_heads: int, n_kv_heads: int, head_size: int) -> dict[str, int]:
    """Heads of a program divide those of q and of k: no lane is idle, and no head is masked."""
    block_heads = math.gcd(n_heads, n_kv_heads, 16)
    block_pairs = triton.next_power_of_2(head_size // 2)
    return {
        "N_HEADS": n_heads,
        "N_KV_HEADS": n_kv_heads,
        "HEAD_SIZE": head_size,
        "BLOCK_HEADS": block_heads,
        "BLOCK_PAIRS": block_pairs,
        # 8 values of each half a lane: in bf16 one 16-byte access.
        "num_warps": min(8, max(1, block_heads * block_pairs // 256)),
    }


@triton.jit
def _turn(
    heads, turned, head_stride, cos, sin,
    HEAD_SIZE: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
):  # fmt: skip
    """Turn the heads that begin at `heads`, and write them to `turned`, which is contiguous."""
    head = tl.arange(0, BLOCK_HEADS)[:, None]
    pair = tl.arange(0, BLOCK_PAIRS)[None, :]
    inside = pair < HEAD_SIZE // 2
    source = heads + head * head_stride + pair
    target = turned + head * HEAD_SIZE + pair
    a = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(source + HEAD_SIZE // 2, mask=inside, other=0.0).to(tl.float32)
    dtype = turned.dtype.element_ty
    tl.store(target, (a * cos - b * sin).to(dtype), mask=inside)
    tl.store(target + HEAD_SIZE // 2, (b * cos + a * sin).to(dtype), mask=inside)


@triton.jit
def turn_kernel(
    q, k, cos, sin, turned_q, turned_k, q_row, q_head, k_row, k_head,
    DIRECTION: tl.constexpr, N_HEADS: tl.constexpr, N_KV_HEADS: tl.constexpr,
    HEAD_SIZE: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
):  # fmt: skip
    """Block `program % blocks` of the heads of token `program // blocks`: q's blocks, then k's.

    `q_row`, `q_head`, `k_row`, `k_head` are strides of q and k, whose last stride is 1.
    """
    blocks: tl.constexpr = (N_HEADS + N_KV_HEADS) // BLOCK_HEADS
    token = (tl.program_id(0) // blocks).to(tl.int64)
    head = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK_HEADS
    # Angles are read in the shape of the heads: a row could reach the lanes by shared memory only.
    pair = tl.broadcast_to(tl.arange(0, BLOCK_PAIRS)[None, :], [BLOCK_HEADS, BLOCK_PAIRS])
    inside = pair < HEAD_SIZE // 2
    angles = token * (HEAD_SIZE // 2) + pair
    c = tl.load(cos + angles, mask=inside, other=0.0)
    s = tl.load(sin + angles, mask=inside, other=0.0) * DIRECTION
    if head < N_HEADS:
        source = q + token * q_row + head * q_head
        target = turned_q + (token * N_HEADS + head) * HEAD_SIZE
        _turn(source, target, q_head, c, s, HEAD_SIZE, BLOCK_HEADS, BLOCK_PAIRS)
    else:
        head -= N_HEADS
        source = k + token * k_row + head * k_head
        target = turned_k + (token * N_KV_HEADS + head) * HEAD_SIZE
        _turn(source, target, k_head, c, s, HEAD_SIZE, BLOCK_HEADS, BLOCK_PAIRS)


def rope_tables(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """`positions` (N,), `frequencies` (K/2,) fp32 -> cos and sin, each (N, K/2) fp32."""
    angles = positions.to(torch.float32).unsqueeze(-1) * frequencies
    return angles.cos(), angles.sin()


def _turned(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, direction: int
) -> tuple[Tensor, Tensor]:
    # Views are read where they lie (packed projections, gradients of transposed attention), but
    # not one value at a time.
    q = q if q.stride(-1) == 1 else q.contiguous()
    k = k if k.stride(-1) == 1 else k.contiguous()
    turned_q = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    turned_k = torch.empty(k.shape, dtype=k.dtype, device=k.device)
    n_tokens, n_heads, head_size = q.shape
    constants = launch_constants(n_heads, k.shape[1], head_size)
    n_programs = n_tokens * (n_heads + k.shape[1]) // constants["BLOCK_HEADS"]
    if n_programs:
        turn_kernel[(n_programs,)](
            q, k, cos, sin, turned_q, turned_k,
            q.stride(0), q.stride(1), k.stride(0), k.stride(1),
            DIRECTION=direction, **constants,
        )  # fmt: skip
    return turned_q, turned_k


class _Rope(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cos, sin)
        return _turned(q, k, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_q: Tensor, d_k: Tensor) -> tuple[Tensor, Tensor, None, None]:
        cos, sin = ctx.saved_tensors  # type: ignore[attr-defined]
        return *_turned(d_q, d_k, cos, sin, -1), None, None


def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Turn `q` (N, H, K) and `k` (N, Hkv, K) by the tables of `rope_tables`; dtypes are kept."""
    return _Rope.apply(q, k, cos, sin)
