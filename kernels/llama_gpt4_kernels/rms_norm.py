"""RMSNorm: y = x / rms(x) * weight, rows of D values, with rms(x) = sqrt(mean(x^2) + eps).

Rounding points are those of Hugging Face's LLaMA: the division in fp32, one cast to the input's
dtype, then the product with the weight in that dtype. Backward, with n = x / rms and g = dy * w:
    dx = (g - n * mean(g * n)) / rms        dw = sum over rows of dy * n
x and 1/rms (one number a row) are kept; n is computed again, where autograd would keep two fp32
copies of x.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        inverse_rms = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(hidden, weight, inverse_rms)
        return (wide * inverse_rms).to(hidden.dtype).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_out: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight, inverse_rms = ctx.saved_tensors  # type: ignore[attr-defined]
        normed = hidden * inverse_rms  # wide, because inverse_rms is
        d_weight = (d_out * normed).sum(0)
        d_normed = d_out.to(normed.dtype) * weight
        mean = (d_normed * normed).mean(-1, keepdim=True)
        d_hidden = d_normed.addcmul_(normed, mean, value=-1).mul_(inverse_rms)
        return d_hidden.to(hidden.dtype), d_weight.to(weight.dtype), None


def rms_norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`hidden` (N, D), `weight` (D,) of the same dtype -> (N, D) in that dtype."""
    return _RMSNorm.apply(hidden, weight, eps)
