"""Tolerance is derived, never tuned: at most twice PyTorch's own error in the same dtype."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16)


def results(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], seed: Tensor
) -> list[Tensor]:
    """The output of `function` and its gradients by every input, all in float64."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out = function(*leaves)
    grads = torch.autograd.grad(out, leaves, seed.to(out.dtype))
    return [x.detach().double() for x in (out, *grads)]


def assert_as_exact_as_pytorch(
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    dtype: torch.dtype,
    seed: Tensor,
) -> None:
    """Compare output and gradients with float64, where the inputs are already rounded to `dtype`.

    Errors are root mean squares: the largest of a few hundred entries is a matter of luck. Where
    PyTorch happens to be exact, half a rounding of the result is left to spend, or half an fp32
    rounding of the incoming gradient where its terms cancel.
    """
    inputs = [x.to(dtype) for x in inputs]
    seed = seed.to(dtype)
    truth = results(theirs, [x.double() for x in inputs], seed.double())
    for mine, other, true in zip(
        results(ours, inputs, seed), results(theirs, inputs, seed), truth, strict=True
    ):
        assert mine.shape == true.shape
        rounding = torch.finfo(dtype).eps / 2 * true.norm()
        cancelled = torch.finfo(torch.float32).eps / 2 * seed.double().norm()
        error, allowed = (mine - true).norm(), (other - true).norm()
        assert error <= max(2 * allowed, rounding, cancelled), (error, allowed)


def assert_repeatable(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], seed: Tensor
) -> None:
    first, second = results(function, inputs, seed), results(function, inputs, seed)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
