import pytest
import torch
from llama_gpt4_kernels.rms_norm import add_rms_norm
from torch import Tensor

from tests.kernels.precision import DTYPES, assert_as_exact_as_pytorch, assert_repeatable

EPS = 1e-5


def hugging_face(hidden: Tensor, delta: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = hidden if delta is None else hidden + delta
    wide = total.to(torch.promote_types(total.dtype, torch.float32))
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
    return total, weight * wide.to(total.dtype)


def ours(hidden: Tensor, delta: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    return add_rms_norm(hidden, delta, weight, EPS)


def joined(function):  # type: ignore[no-untyped-def]
    return lambda *inputs: torch.cat(function(*inputs))


def alone(function):  # type: ignore[no-untyped-def]
    """Without `delta`, and without use of the sum."""
    return lambda hidden, weight: function(hidden, None, weight)[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 2), (7, 3), (1, 257), (64, 33), (300, 128), (0, 8)])
def test_as_exact_as_pytorch(shape: tuple[int, int], dtype: torch.dtype) -> None:
    shapes = [shape, shape, shape[1:]]
    assert_as_exact_as_pytorch(joined(ours), joined(hugging_face), shapes, dtype)
    assert_as_exact_as_pytorch(alone(ours), alone(hugging_face), shapes[1:], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounds_where_hugging_face_rounds(dtype: torch.dtype) -> None:
    hidden, delta = torch.randn(2, 50, 96).to(dtype)
    weight = torch.randn(96).to(dtype)
    for add in (delta, None):
        for one, other in zip(
            ours(hidden, add, weight), hugging_face(hidden, add, weight), strict=True
        ):
            assert torch.equal(one, other)


def test_gradcheck() -> None:
    hidden, delta = (torch.randn(3, 5).double().requires_grad_() for _ in range(2))
    weight = torch.randn(5).double().requires_grad_()
    assert torch.autograd.gradcheck(ours, (hidden, delta, weight))
    assert torch.autograd.gradcheck(ours, (hidden, None, weight))
    assert torch.autograd.gradcheck(alone(ours), (hidden, weight))


def test_the_sum_alone_passes_its_gradient_on() -> None:
    hidden, delta, weight, seed = torch.randn(4, 8, 8).requires_grad_().unbind()
    total, _ = ours(hidden, delta, weight[0])
    grads = torch.autograd.grad(total, (hidden, delta), seed)
    assert all(torch.equal(grad, seed) for grad in grads)


def test_repeatable_and_inputs_untouched() -> None:
    inputs = [torch.randn(40, 64), torch.randn(40, 64), torch.randn(64)]
    seed = torch.randn(80, 64)
    before = [x.clone() for x in (*inputs, seed)]
    assert_repeatable(joined(ours), inputs, seed)
    assert all(map(torch.equal, before, (*inputs, seed)))


def test_keeps_the_sum_and_one_number_a_row() -> None:
    kept: list[Tensor] = []
    hidden, delta = (torch.randn(40, 64, requires_grad=True) for _ in range(2))
    weight = torch.randn(64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        total, _ = ours(hidden, delta, weight)
    assert [x.data_ptr() for x in kept[:2]] == [total.data_ptr(), weight.data_ptr()]
    assert kept[2].shape == (40, 1) and len(kept) == 3
