import pytest
import torch
import torch.nn.functional as F
from llama_gpt4_kernels import linear_cross_entropy as module
from llama_gpt4_kernels.linear_cross_entropy import linear_cross_entropy
from torch import Tensor

from tests.kernels.precision import DTYPES, assert_as_exact_as_pytorch, assert_repeatable, results

ONE = torch.tensor(1.0)


def ours(targets: Tensor, weights: Tensor):  # type: ignore[no-untyped-def]
    return lambda hidden, weight: linear_cross_entropy(hidden, weight, targets, weights)


def pytorch(targets: Tensor, weights: Tensor):  # type: ignore[no-untyped-def]
    def run(hidden: Tensor, weight: Tensor) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        nll = F.cross_entropy(F.linear(hidden, weight).to(wide), targets, reduction="none")
        return (nll * weights.to(wide)).sum()

    return run


def problem(rows: int, hidden_size: int, vocab_size: int) -> tuple[list[Tensor], Tensor, Tensor]:
    inputs = [torch.randn(rows, hidden_size), torch.randn(vocab_size, hidden_size)]
    return inputs, torch.randint(vocab_size, (rows,)), torch.rand(rows) / max(rows, 1)


@pytest.fixture(params=[1, 4 * 3 * 37, 2**26], ids=["row", "three_rows", "all"])
def _chunk_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("_chunk_bytes")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 8, 37), (7, 5, 37), (50, 33, 101), (0, 4, 5)])
def test_as_exact_as_pytorch(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows, hidden_size, vocab_size = shape
    _, targets, weights = problem(*shape)
    shapes = [(rows, hidden_size), (vocab_size, hidden_size)]
    assert_as_exact_as_pytorch(ours(targets, weights), pytorch(targets, weights), shapes, dtype)


def test_gradcheck() -> None:
    inputs, targets, weights = problem(4, 3, 7)
    double = [x.double().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(ours(targets, weights), double)


def test_chunks_do_not_change_the_mathematics(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets, weights = problem(29, 16, 101)
    double = [x.double() for x in inputs]
    whole = results(ours(targets, weights), double, ONE)
    for rows in (1, 2, 5, 28, 29):
        monkeypatch.setattr(module, "CHUNK_BYTES", 4 * 101 * rows)
        for one, other in zip(results(ours(targets, weights), double, ONE), whole, strict=True):
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-14)


def test_chunks_are_even_and_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * 100 * 8)
    assert [module._chunk_rows(n, 100) for n in (0, 1, 8, 9, 17)] == [0, 1, 8, 5, 6]
    assert module._chunk_rows(5, 10**6) == 1  # a row is the least


def test_bf16_gradient_does_not_get_worse_with_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets, weights = problem(256, 16, 50)
    low = [x.bfloat16() for x in inputs]
    truth = results(pytorch(targets, weights), [x.double() for x in low], ONE)[2]

    def error() -> float:
        return float((results(ours(targets, weights), low, ONE)[2] - truth).abs().max())

    whole = error()
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * 50 * 4)
    assert error() <= 1.5 * whole


def test_no_target_gives_zero_and_still_a_gradient() -> None:
    hidden = torch.randn(0, 4, requires_grad=True)
    weight = torch.randn(5, 4, requires_grad=True)
    loss = ours(torch.zeros(0, dtype=torch.int64), torch.zeros(0))(hidden, weight)
    assert loss.item() == 0 and loss.dtype == torch.float32
    loss.backward()
    assert hidden.grad is not None and hidden.grad.shape == (0, 4)
    assert weight.grad is not None and torch.equal(weight.grad, torch.zeros(5, 4))


def test_masked_rows_may_hold_anything() -> None:
    inputs, targets, weights = problem(6, 4, 9)
    rows = torch.tensor([1, 2, 5])

    def loss(hidden: Tensor, weight: Tensor) -> Tensor:
        return ours(targets[rows], weights[rows])(hidden.index_select(0, rows), weight)

    clean = results(loss, inputs, ONE)
    inputs[0][[0, 3, 4]] = torch.nan
    for one, other in zip(results(loss, inputs, ONE), clean, strict=True):
        assert torch.equal(one, other)


def test_extreme_logits_stay_finite() -> None:
    weight = torch.tensor([[1e4], [-1e4], [0.0]])
    targets = torch.tensor([1, 0])
    loss, d_hidden, _ = results(ours(targets, torch.ones(2)), [torch.ones(2, 1), weight], ONE)
    assert loss.item() == 2e4
    assert d_hidden.tolist() == [[2e4], [0.0]]


def test_a_zero_weight_is_no_target() -> None:
    inputs, targets, weights = problem(6, 4, 9)
    weights[3] = 0
    d_hidden = results(ours(targets, weights), inputs, ONE)[1]
    assert d_hidden[3].abs().max() == 0


def test_the_incoming_gradient_scales_and_may_come_twice() -> None:
    inputs, targets, weights = problem(6, 4, 9)
    leaves = [x.requires_grad_() for x in inputs]
    loss = ours(targets, weights)(*leaves)
    once = torch.autograd.grad(loss, leaves, retain_graph=True)
    twice = torch.autograd.grad(2 * loss, leaves)
    assert all(torch.equal(2 * one, other) for one, other in zip(once, twice, strict=True))


def test_without_gradient_the_loss_is_the_same_and_nothing_is_kept() -> None:
    inputs, targets, weights = problem(6, 4, 9)
    leaves = [x.requires_grad_() for x in inputs]
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        with torch.no_grad():
            evaluated = ours(targets, weights)(*leaves)
        assert not kept and not evaluated.requires_grad
        assert torch.equal(evaluated, ours(targets, weights)(*leaves))
    assert [x.shape for x in kept] == [(6, 4), (9, 4)]  # the finished gradients


def test_repeatable() -> None:
    inputs, targets, weights = problem(60, 32, 301)
    assert_repeatable(ours(targets, weights), inputs, ONE)
