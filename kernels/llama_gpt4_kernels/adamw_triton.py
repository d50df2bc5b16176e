"""AdamW over flat fp32 tensors, such as ZeRO's partitions, in one launch a tensor.

With m and v the moments after this step's gradient g, and t the number of this step:
    m += (1 - b1) (g - m)        v += (1 - b2) (g^2 - v)
    p -= lr * decay * p + lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
p is rounded once. 28 bytes an element: p, g, m, v read and p, m, v written. The plain twin is
`torch.optim.AdamW(fused=True)`, which moves the same bytes.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
import triton
import triton.language as tl

LAUNCH = {"BLOCK": 512, "num_warps": 4}
"""16 bytes a thread and tensor."""


@triton.jit
def _one_minus_power(log_beta, step):
    """1 - beta^step in fp32: by the series of exp where the difference would cancel."""
    x = log_beta * step
    small = tl.maximum(x, -0.5)
    series = 1.0
    for k in tl.static_range(8, 1, -1):
        series = 1.0 + series * small * (1.0 / k)
    return tl.where(x > -0.5, -small * series, 1.0 - tl.exp(x))


@triton.jit
def _moved(old, new, share):
    """old + share * (new - old), exact at both ends: a v that cancels to 0 would be divided by."""
    near_old = old + share * (new - old)
    return tl.where(share < 0.5, near_old, new - (1.0 - share) * (new - old))


@triton.jit
def _update(
    values, grads, exp_avgs, exp_avg_sqs, offsets, mask,
    decay, rate, eps, new_1, new_2, inverse_root,
):  # fmt: skip
    p = tl.load(values + offsets, mask=mask)
    g = tl.load(grads + offsets, mask=mask)
    m = tl.load(exp_avgs + offsets, mask=mask)
    v = tl.load(exp_avg_sqs + offsets, mask=mask)
    m = _moved(m, g, new_1)
    v = _moved(v, g * g, new_2)
    p -= decay * p + rate * m / (tl.sqrt(v) * inverse_root + eps)
    tl.store(values + offsets, p, mask=mask)
    tl.store(exp_avgs + offsets, m, mask=mask)
    tl.store(exp_avg_sqs + offsets, v, mask=mask)


@triton.jit(do_not_specialize=["n"])
def adamw_kernel(
    values, grads, exp_avgs, exp_avg_sqs, steps, n,
    lr, decay, eps, log_beta1, new_1, log_beta2, new_2, BLOCK: tl.constexpr,
):  # fmt: skip
    """`decay` is lr * weight_decay; `new_1`, `new_2` are 1 - beta, rounded after the difference."""
    step = tl.load(steps)
    correction_1 = _one_minus_power(tl.cast(log_beta1, tl.float32), step)
    correction_2 = _one_minus_power(tl.cast(log_beta2, tl.float32), step)
    rate = tl.cast(lr, tl.float32) / correction_1
    inverse_root = 1.0 / tl.sqrt(correction_2)
    decay = tl.cast(decay, tl.float32)
    eps = tl.cast(eps, tl.float32)
    new_1 = tl.cast(new_1, tl.float32)
    new_2 = tl.cast(new_2, tl.float32)
    start = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = start + tl.arange(0, BLOCK)
    # Without a mask accesses are 16 bytes wide whatever n is; only the last block may need one.
    if start + BLOCK <= n:
        _update(
            values, grads, exp_avgs, exp_avg_sqs, offsets, None,
            decay, rate, eps, new_1, new_2, inverse_root,
        )  # fmt: skip
    else:
        _update(
            values, grads, exp_avgs, exp_avg_sqs, offsets, offsets < n,
            decay, rate, eps, new_1, new_2, inverse_root,
        )  # fmt: skip


class AdamW(torch.optim.AdamW):
    """torch's AdamW by another `step`: state and parameter groups are those of
    `torch.optim.AdamW(fused=True)`, so either goes on where the other stopped."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every parameter that has a gradient; nothing waits for the device."""
        assert closure is None, "the gradients are there already"
        for group in self.param_groups:
            params: list[Any] = []
            grads: list[Any] = []
            exp_avgs: list[Any] = []
            exp_avg_sqs: list[Any] = []
            steps: list[Any] = []
            self._init_group(group, params, grads, exp_avgs, exp_avg_sqs, [], steps)
            if params:
                torch._foreach_add_(steps, 1)
            scalars = _scalars(group)
            for tensors in zip(params, grads, exp_avgs, exp_avg_sqs, steps, strict=True):
                _launch(*tensors, scalars)


def _scalars(group: dict[str, Any]) -> tuple[float, ...]:
    """The kernel's arguments from `lr` on."""
    lr = float(group["lr"])
    arguments = [lr, lr * group["weight_decay"], float(group["eps"])]
    for beta in group["betas"]:
        arguments += [math.log(beta) if beta else -math.inf, 1.0 - beta]
    return tuple(arguments)


def _launch(
    param: torch.Tensor,
    grad: torch.Tensor,
    exp_avg: torch.Tensor,
    exp_avg_sq: torch.Tensor,
    step: torch.Tensor,
    scalars: tuple[float, ...],
) -> None:
    assert param.dtype == grad.dtype == torch.float32, (param.dtype, grad.dtype)
    assert param.is_contiguous() and exp_avg.is_contiguous() and exp_avg_sq.is_contiguous()
    n = param.numel()
    if n:
        grid = (triton.cdiv(n, LAUNCH["BLOCK"]),)
        adamw_kernel[grid](
            param, grad.contiguous(), exp_avg, exp_avg_sq, step, n, *scalars, **LAUNCH
        )
