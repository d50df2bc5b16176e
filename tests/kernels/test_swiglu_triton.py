import pytest
import torch
from llama_gpt4_kernels import swiglu as plain
from llama_gpt4_kernels.swiglu_triton import LAUNCH, backward_kernel, forward_kernel, swiglu
from torch import Tensor

from tests.kernels.precision import assert_as_exact_as_pytorch, assert_repeatable
from tests.kernels.test_swiglu import eager

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(1, 1), (7, 64), (65, 257), (16, 64), (1, 11008), (2, 13824), (0, 8)]
)
def test_as_exact_as_pytorch(shape: tuple[int, int], dtype: torch.dtype) -> None:
    assert_as_exact_as_pytorch(swiglu, eager, [shape, shape], dtype, n_draws=2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounds_where_the_plain_twin_rounds(dtype: torch.dtype) -> None:
    gate, up, seed = torch.randn(3, 7, 257).to(dtype)
    both = [gate.requires_grad_(), up.requires_grad_()]
    one, other = swiglu(*both), plain.swiglu(*both)
    pairs = zip(
        (one, *torch.autograd.grad(one, both, seed)),
        (other, *torch.autograd.grad(other, both, seed)),
        strict=True,
    )
    for mine, theirs in pairs:
        # exp differs in its last bit, which may tip a value that lies between two others.
        assert (mine != theirs).float().mean() < 0.005
        torch.testing.assert_close(mine, theirs, rtol=4 * torch.finfo(dtype).eps, atol=1e-6)


def test_views_and_expanded_gradients() -> None:
    packed = torch.randn(9, 2 * 64 + 3)[2:]
    gate, up = packed[:, 1:65].requires_grad_(), packed[:, 65:129].requires_grad_()
    for seed in (torch.randn(1).expand(7, 64), torch.randn(64, 7).t(), torch.randn(1, 64)):
        seed = seed.expand(7, 64)
        found = torch.autograd.grad(swiglu(gate, up), (gate, up), seed)
        expected = torch.autograd.grad(plain.swiglu(gate, up), (gate, up), seed)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # to infinity, as on a GPU
def test_large_gates_stay_finite() -> None:
    gate = torch.tensor([[-1e4, -100.0, 0.0, 100.0, 1e4]], requires_grad=True)
    up = torch.full_like(gate, 1e4)
    out = swiglu(gate, up)
    assert out.tolist() == [[0.0, 0.0, 0.0, 1e6, 1e8]]
    (grad,) = torch.autograd.grad(out.sum(), gate)
    assert grad.tolist() == [[0.0, 0.0, 5e3, 1e4, 1e4]]


@pytest.mark.parametrize("n_values", [1, 1023, 1024, 1025])
def test_nothing_is_written_behind_the_last_value(n_values: int) -> None:
    inputs = torch.randn(3, 2048)
    outputs = torch.full((3, 2048), torch.nan)
    grid = (-(-n_values // LAUNCH["BLOCK"]),)
    forward_kernel[grid](*inputs[:2], outputs[0], n_values, **LAUNCH)
    backward_kernel[grid](*inputs, *outputs[1:], n_values, **LAUNCH)
    assert not outputs[:, :n_values].isnan().any() and outputs[:, n_values:].isnan().all()


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
