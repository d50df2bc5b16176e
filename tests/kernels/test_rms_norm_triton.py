import pytest
import torch
from llama_gpt4_kernels import rms_norm
from llama_gpt4_kernels.rms_norm_triton import add_rms_norm, launch_constants
from torch import Tensor

from tests.kernels.precision import assert_as_exact_as_pytorch, assert_repeatable
from tests.kernels.test_rms_norm import EPS, alone, hugging_face, joined

HALVES = (torch.bfloat16, torch.float16)


def ours(hidden: Tensor, delta: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    return add_rms_norm(hidden, delta, weight, EPS)


def plain(hidden: Tensor, delta: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    return rms_norm.add_rms_norm(hidden, delta, weight, EPS)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("shape", [(1, 1), (7, 64), (7, 257), (1, 4096), (2, 5120), (0, 64)])
def test_as_exact_as_pytorch(shape: tuple[int, int], dtype: torch.dtype) -> None:
    shapes = [shape, shape, shape[1:]]
    n_draws = 16 if shape == (1, 1) else 2  # a row takes the interpreter some milliseconds
    assert_as_exact_as_pytorch(joined(ours), joined(hugging_face), shapes, dtype, n_draws)
    assert_as_exact_as_pytorch(alone(ours), alone(hugging_face), shapes[1:], dtype, n_draws)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("width", [1, 257, 5120])
def test_rounds_where_the_plain_twin_rounds(width: int, dtype: torch.dtype) -> None:
    hidden, delta = torch.randn(2, 7, width).to(dtype)
    weight = torch.randn(width).to(dtype)
    for add in (delta, None):
        total, normed = ours(hidden, add, weight)
        expected_total, expected = plain(hidden, add, weight)
        assert torch.equal(total, expected_total)
        # A sum of squares in another order may tip a value that lies between two others.
        torch.testing.assert_close(normed, expected, rtol=2 * torch.finfo(dtype).eps, atol=0)
        assert (normed != expected).float().mean() < 0.01


@pytest.mark.parametrize("uses", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("has_delta", [True, False])
def test_gradients_of_what_was_used(uses: tuple[bool, bool], has_delta: bool) -> None:
    weight = torch.randn(64).requires_grad_()
    hidden, delta = (torch.randn(7, 64).requires_grad_() for _ in range(2))
    seeds = [torch.randn(7, 64) for used in uses if used]

    def gradients(function) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]
        outputs = function(hidden, delta if has_delta else None, weight)
        used = [output for output, is_used in zip(outputs, uses, strict=True) if is_used]
        return torch.autograd.grad(used, (hidden, delta, weight), seeds, allow_unused=True)

    for one, other in zip(gradients(ours), gradients(plain), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("n_rows", [1, 3, 4, 5, 65])
def test_every_row_adds_to_the_gradient_of_the_weight(n_rows: int) -> None:
    hidden, weight = torch.randn(n_rows, 8), torch.ones(8, requires_grad=True)
    (grad,) = torch.autograd.grad(ours(hidden, None, weight)[1].sum(), weight)
    torch.testing.assert_close(grad, plain(hidden, None, weight)[1].detach().sum(0))


def test_views_and_expanded_gradients() -> None:
    storage = torch.randn(2, 65, 200)
    hidden, delta = storage[:, 1:8, 3:131]  # offset by odd numbers, rows apart
    weight = torch.randn(129)[1:].requires_grad_()
    hidden.requires_grad_(), delta.requires_grad_()
    copies = [x.detach().clone().requires_grad_() for x in (hidden, delta, weight)]
    seeds = torch.randn(1).expand(7, 128), torch.randn(128, 7).t()
    given = torch.autograd.grad(ours(hidden, delta, weight), (hidden, delta, weight), seeds)
    expected = torch.autograd.grad(plain(*copies), copies, seeds)
    for one, other in zip(given, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("value", [1e4, -1e4, 1e-30])
def test_extreme_values_stay_finite(value: float) -> None:
    inputs = [torch.full((3, 64), value).requires_grad_() for _ in range(2)]
    weight = torch.full((64,), 1e4).requires_grad_()
    out = torch.cat(ours(*inputs, weight))
    grads = torch.autograd.grad(out, (*inputs, weight), torch.full_like(out, 1e4))
    assert all(x.isfinite().all() for x in (out, *grads))


def test_repeatable_and_inputs_untouched() -> None:
    inputs = [torch.randn(9, 257), torch.randn(9, 257), torch.randn(257)]
    seed = torch.randn(18, 257)
    before = [x.clone() for x in (*inputs, seed)]
    assert_repeatable(joined(ours), inputs, seed)
    assert all(map(torch.equal, before, (*inputs, seed)))


def test_keeps_the_sum_and_one_number_a_row() -> None:
    kept: list[Tensor] = []
    hidden, delta = (torch.randn(4, 64, requires_grad=True) for _ in range(2))
    weight = torch.randn(64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        total, _ = ours(hidden, delta, weight)
    assert [x.data_ptr() for x in kept[:2]] == [total.data_ptr(), weight.data_ptr()]
    assert kept[2].shape == (4, 1) and len(kept) == 3


def test_without_delta_the_sum_is_the_input() -> None:
    hidden = torch.randn(3, 64)
    total, _ = ours(hidden, None, torch.ones(64))
    assert total.data_ptr() == hidden.data_ptr()


@pytest.mark.parametrize("width", [1, 2, 3, 64, 257, 768, 3072, 4096, 5120, 8192])
def test_pieces_cover_a_row_and_few_lanes_are_idle(width: int) -> None:
    constants = launch_constants(width)
    head, tail, warps = constants["HEAD"], constants["TAIL"], constants["num_warps"]
    assert head <= width <= head + tail or width == 1
    assert all(n & (n - 1) == 0 for n in (head, tail, warps))
    if width % 1024 == 0 or width == 768:
        assert head + tail == width
