"""Residual sum and RMSNorm: s = hidden + delta, y = s / rms(s) * weight, rows of D values.

rms(s) = sqrt(mean(s^2) + eps). Rounding points are those of Hugging Face's LLaMA: the sum is
rounded to the dtype, the division is fp32, one cast to the dtype, then the product with the weight
in that dtype. Backward, with n = s / rms and g = dy * weight:
    d_hidden = d_delta = ds + (g - n * mean(g * n)) / rms        d_weight = sum over rows of dy * n
s and 1/rms (one number a row) are kept; n is computed again, where autograd would keep two fp32
copies of s. That s has a gradient of its own spares autograd the sum of two gradients.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class _AddRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, hidden: Tensor, delta: Tensor | None, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        total = hidden if delta is None else hidden + delta
        wide = total.to(torch.promote_types(total.dtype, torch.float32))
        inverse_rms = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(total, weight, inverse_rms)
        ctx.set_materialize_grads(False)
        return total, (wide * inverse_rms).to(total.dtype).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_total: Tensor | None, d_normed: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        has_delta = ctx.needs_input_grad[1]  # type: ignore[attr-defined]
        if d_normed is None:
            return d_total, d_total if has_delta else None, None, None
        total, weight, inverse_rms = ctx.saved_tensors  # type: ignore[attr-defined]
        unit = total * inverse_rms  # wide, because inverse_rms is
        d_weight = (d_normed * unit).sum(0)
        d_unit = d_normed.to(unit.dtype) * weight
        mean = (d_unit * unit).mean(-1, keepdim=True)
        d_sum = d_unit.addcmul_(unit, mean, value=-1).mul_(inverse_rms)
        if d_total is not None:
            d_sum += d_total
        d_sum = d_sum.to(total.dtype)
        return d_sum, d_sum if has_delta else None, d_weight.to(weight.dtype), None


def add_rms_norm(
    hidden: Tensor, delta: Tensor | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`hidden`, `delta` (N, D), `weight` (D,) of one dtype -> their sum and its norm, both (N, D).

    Without `delta` the sum is `hidden` itself.
    """
    return _AddRMSNorm.apply(hidden, delta, weight, eps)
