import pytest
import torch
import torch.nn.functional as F
from llama_gpt4_kernels.swiglu import swiglu
from torch import Tensor

from tests.kernels.precision import DTYPES, assert_as_exact_as_pytorch, assert_repeatable


def eager(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (1, 257), (64, 33), (300, 128), (0, 8)])
def test_as_exact_as_pytorch(shape: tuple[int, int], dtype: torch.dtype) -> None:
    assert_as_exact_as_pytorch(swiglu, eager, [shape, shape], dtype)


def test_gradcheck() -> None:
    inputs = [torch.randn(3, 5).double().requires_grad_() for _ in range(2)]
    assert torch.autograd.gradcheck(swiglu, inputs)


def test_large_gates_stay_finite() -> None:
    gate = torch.tensor([[-1e4, -100.0, 0.0, 100.0, 1e4]], requires_grad=True)
    (grad,) = torch.autograd.grad(swiglu(gate, torch.ones_like(gate)).sum(), gate)
    assert torch.equal(grad, torch.tensor([[0.0, 0.0, 0.5, 1.0, 1.0]]))


def test_repeatable_and_inputs_untouched() -> None:
    gate, up, seed = (torch.randn(40, 64) for _ in range(3))
    before = [x.clone() for x in (gate, up, seed)]
    assert_repeatable(swiglu, [gate, up], seed)
    assert all(map(torch.equal, before, (gate, up, seed)))


def test_keeps_gate_and_up_only() -> None:
    kept: list[Tensor] = []
    gate, up = (torch.randn(40, 64, requires_grad=True) for _ in range(2))
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        swiglu(gate, up)
    assert [x.data_ptr() for x in kept] == [gate.data_ptr(), up.data_ptr()]
