"""SwiGLU: y = silu(gate) * up, rows of F values.

Backward, with s = sigmoid(gate):  d_up = dy * gate * s
                                   d_gate = dy * up * s * (1 + gate * (1 - s))
Only gate and up are kept; autograd would keep silu(gate) as well, a quarter of all that the
feed-forward keeps. In bf16 silu(gate) is rounded before the product, as in Hugging Face's LLaMA.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_out: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors  # type: ignore[attr-defined]
        d_gate = torch.ops.aten.silu_backward(d_out * up, gate)
        return d_gate, F.silu(gate).mul_(d_out)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """`gate`, `up` (N, F) of one dtype -> (N, F) in that dtype."""
    return _SwiGLU.apply(gate, up)
