import pytest
import torch
from llama_gpt4_kernels.rms_norm import rms_norm
from torch import Tensor

from tests.kernels.precision import DTYPES, assert_as_exact_as_pytorch, assert_repeatable


def hugging_face(hidden: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * wide.to(hidden.dtype)


def ours(hidden: Tensor, weight: Tensor) -> Tensor:
    return rms_norm(hidden, weight, 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 2), (7, 3), (1, 257), (64, 33), (300, 128), (0, 8)])
def test_as_exact_as_pytorch(shape: tuple[int, int], dtype: torch.dtype) -> None:
    assert_as_exact_as_pytorch(ours, hugging_face, [shape, shape[1:]], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounds_where_hugging_face_rounds(dtype: torch.dtype) -> None:
    hidden, weight = torch.randn(50, 96).to(dtype), torch.randn(96).to(dtype)
    assert torch.equal(ours(hidden, weight), hugging_face(hidden, weight))


def test_gradcheck() -> None:
    inputs = (torch.randn(3, 5).double(), torch.randn(5).double())
    assert torch.autograd.gradcheck(ours, [x.requires_grad_() for x in inputs])


def test_repeatable_and_inputs_untouched() -> None:
    hidden, weight, seed = torch.randn(40, 64), torch.randn(64), torch.randn(40, 64)
    before = [x.clone() for x in (hidden, weight, seed)]
    assert_repeatable(ours, [hidden, weight], seed)
    assert all(map(torch.equal, before, (hidden, weight, seed)))


def test_keeps_the_input_and_one_number_a_row() -> None:
    kept: list[Tensor] = []
    hidden = torch.randn(40, 64, requires_grad=True)
    weight = torch.randn(64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        ours(hidden, weight)
    assert sum(x.numel() for x in kept) == 40 * 64 + 64 + 40
