"""`swiglu` in Triton: one launch forward, one backward, with the plain twin's rounding points.

Nothing here knows of rows: all N * F values are one line of blocks, so that no width leaves lanes
idle. Only the last block is masked, behind a branch: a mask in every block would be known to be
aligned for some numbers of values and not for others, and cost wide accesses or compilations.
Bytes a value: forward reads 2 and writes 1 (times the dtype's size), backward reads 3, writes 2.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

LAUNCH = {"BLOCK": 1024, "num_warps": 4}
"""8 values a lane: one 16-byte access of each tensor in bf16."""


@triton.jit
def _forward_block(gate, up, out, offsets, inside):
    g = tl.load(gate + offsets, mask=inside).to(tl.float32)
    u = tl.load(up + offsets, mask=inside).to(tl.float32)
    dtype = out.dtype.element_ty
    silu = (g * tl.sigmoid(g)).to(dtype).to(tl.float32)
    tl.store(out + offsets, (silu * u).to(dtype), mask=inside)


@triton.jit(do_not_specialize=["n_values"])
def forward_kernel(gate, up, out, n_values, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = start + tl.arange(0, BLOCK)
    if start + BLOCK <= n_values:
        _forward_block(gate, up, out, offsets, None)
    else:
        _forward_block(gate, up, out, offsets, offsets < n_values)


@triton.jit
def _backward_block(d_out, gate, up, d_gate, d_up, offsets, inside):
    d = tl.load(d_out + offsets, mask=inside).to(tl.float32)
    g = tl.load(gate + offsets, mask=inside).to(tl.float32)
    u = tl.load(up + offsets, mask=inside).to(tl.float32)
    dtype = d_gate.dtype.element_ty
    s = tl.sigmoid(g)
    silu = (g * s).to(dtype).to(tl.float32)
    d_silu = (d * u).to(dtype).to(tl.float32)
    tl.store(d_gate + offsets, (d_silu * s * (1 + g * (1 - s))).to(dtype), mask=inside)
    tl.store(d_up + offsets, (d * silu).to(dtype), mask=inside)


@triton.jit(do_not_specialize=["n_values"])
def backward_kernel(d_out, gate, up, d_gate, d_up, n_values, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = start + tl.arange(0, BLOCK)
    if start + BLOCK <= n_values:
        _backward_block(d_out, gate, up, d_gate, d_up, offsets, None)
    else:
        _backward_block(d_out, gate, up, d_gate, d_up, offsets, offsets < n_values)


def _grid(n_values: int) -> tuple[int]:
    return (-(-n_values // LAUNCH["BLOCK"]),)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        out = torch.empty_like(gate)
        if n_values := gate.numel():
            forward_kernel[_grid(n_values)](gate, up, out, n_values, **LAUNCH)
        ctx.save_for_backward(gate, up)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_out: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors  # type: ignore[attr-defined]
        d_gate, d_up = torch.empty_like(gate), torch.empty_like(up)
        if n_values := gate.numel():
            backward_kernel[_grid(n_values)](
                d_out.contiguous(), gate, up, d_gate, d_up, n_values, **LAUNCH
            )
        return d_gate, d_up


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """`gate`, `up` (N, F) of one dtype -> (N, F) in that dtype."""
    return _SwiGLU.apply(gate, up)
