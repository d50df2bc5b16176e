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
    shapes: Sequence[Sequence[int]],
    dtype: torch.dtype,
    n_draws: int = 16,
) -> None:
    """Compare output and gradients with float64, for normal inputs that are rounded to `dtype`.

    Errors are root mean squares over all entries of all draws: the largest of a few entries is a
    matter of luck. Where PyTorch happens to be exact, `eps` of the result (two roundings) is left
    to spend, or that of the incoming gradient in fp32 where its terms cancel.
    """
    measured = []
    for _ in range(n_draws):
        inputs = [torch.randn(*shape).to(dtype) for shape in shapes]
        seed = torch.randn(theirs(*inputs).shape).to(dtype)
        truth = results(theirs, [x.double() for x in inputs], seed.double())
        mine, other = results(ours, inputs, seed), results(theirs, inputs, seed)
        measured.append(
            [
                (m - t).norm() ** 2,
                (o - t).norm() ** 2,
                (torch.finfo(dtype).eps * t.norm()) ** 2,
                (torch.finfo(torch.float32).eps * seed.double().norm()) ** 2,
            ]
            for m, o, t in zip(mine, other, truth, strict=True)
        )
        assert [x.shape for x in mine] == [x.shape for x in truth]
    errors = torch.tensor([list(draw) for draw in measured]).sum(0).sqrt()
    for error, allowed, rounding, cancelled in errors:
        assert error <= max(2 * allowed, rounding, cancelled), errors


def assert_repeatable(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], seed: Tensor
) -> None:
    first, second = results(function, inputs, seed), results(function, inputs, seed)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
