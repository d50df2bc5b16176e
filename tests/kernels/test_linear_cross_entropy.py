from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from llama_gpt4_kernels import linear_cross_entropy as module
from llama_gpt4_kernels.linear_cross_entropy import (
    linear_cross_entropy,
    softmax_rows,
    token_log_probabilities,
    weighted_loss,
)
from torch import Tensor

from tests.kernels.precision import DTYPES, assert_as_exact_as_pytorch, assert_repeatable, results

ONE = torch.tensor(1.0)


def ours(targets: Tensor, weights: Tensor) -> Callable[..., Tensor]:
    return lambda hidden, weight: linear_cross_entropy(hidden, weight, targets, weights)


def pytorch_nll(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    wide = torch.promote_types(hidden.dtype, torch.float32)
    return F.cross_entropy(F.linear(hidden, weight).to(wide), targets, reduction="none")


def pytorch(targets: Tensor, weights: Tensor) -> Callable[..., Tensor]:
    return lambda hidden, weight: (pytorch_nll(hidden, weight, targets) * weights).sum()


def problem(rows: int, hidden_size: int, vocab_size: int) -> tuple[list[Tensor], Tensor, Tensor]:
    inputs = [torch.randn(rows, hidden_size), torch.randn(vocab_size, hidden_size)]
    return inputs, torch.randint(vocab_size, (rows,)), torch.rand(rows) / max(rows, 1)


def limit_rows(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Chunks of `rows` fp32 rows of at most 64 logits, worked on two rows at a time."""
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * 64 * rows)
    monkeypatch.setattr(module, "CACHE_BYTES", 4 * 64 * 2)


@pytest.fixture(params=[1, 3, 2**20], ids=["row", "three_rows", "all"])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_rows(monkeypatch, request.param)


SHAPES = [(1, 1, 2), (1, 8, 37), (7, 5, 37), (50, 33, 101), (0, 4, 5)]


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_as_exact_as_pytorch(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows, hidden_size, vocab_size = shape
    _, targets, weights = problem(*shape)
    shapes = [(rows, hidden_size), (vocab_size, hidden_size)]
    assert_as_exact_as_pytorch(ours(targets, weights), pytorch(targets, weights), shapes, dtype)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_log_probabilities_are_as_exact_as_pytorchs(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    rows, hidden_size, vocab_size = shape
    _, targets, _ = problem(*shape)
    assert_as_exact_as_pytorch(
        lambda hidden, weight: token_log_probabilities(hidden, weight, targets),
        lambda hidden, weight: -pytorch_nll(hidden, weight, targets),
        [(rows, hidden_size), (vocab_size, hidden_size)],
        dtype,
    )


def test_gradcheck() -> None:
    inputs, targets, weights = problem(4, 3, 7)
    double = [x.double().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(ours(targets, weights), double)
    assert torch.autograd.gradcheck(lambda h, w: token_log_probabilities(h, w, targets), double)


def test_chunks_do_not_change_the_mathematics(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets, weights = problem(29, 16, 61)
    double = [x.double() for x in inputs]
    whole = results(ours(targets, weights), double, ONE)
    for rows in (1, 2, 10, 56, 58):  # of fp32: twice those of fp64
        limit_rows(monkeypatch, rows)
        for one, other in zip(results(ours(targets, weights), double, ONE), whole, strict=True):
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-14)


def test_chunks_are_even_and_within_the_limit() -> None:
    assert [module._chunk_rows(n, 400, 3200) for n in (0, 1, 8, 9, 17)] == [0, 1, 8, 5, 6]
    assert module._chunk_rows(5, 10**6, 3200) == 1  # a row is the least


def test_bf16_gradient_does_not_get_worse_with_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets, weights = problem(256, 16, 50)
    low = [x.bfloat16() for x in inputs]
    truth = results(pytorch(targets, weights), [x.double() for x in low], ONE)[2]

    def error() -> float:
        return float((results(ours(targets, weights), low, ONE)[2] - truth).abs().max())

    whole = error()
    limit_rows(monkeypatch, 2)  # of fp32: 64 chunks
    assert error() <= 1.5 * whole


@pytest.mark.parametrize("vocab_size", [5, 64])
def test_no_target_gives_zero_and_still_a_gradient(vocab_size: int) -> None:
    hidden = torch.randn(0, 4, requires_grad=True)
    weight = torch.randn(vocab_size, 4, requires_grad=True)
    targets = torch.zeros(0, dtype=torch.int64)
    loss = ours(targets, torch.zeros(0))(hidden, weight)
    assert loss.item() == 0 and loss.dtype == torch.float32
    scores = token_log_probabilities(hidden, weight, targets)
    assert scores.shape == (0,) and scores.dtype == torch.float32
    for out in (loss, scores.sum()):
        d_hidden, d_weight = torch.autograd.grad(out, (hidden, weight))
        assert d_hidden.shape == (0, 4)
        assert torch.equal(d_weight, torch.zeros(vocab_size, 4))


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


@pytest.mark.parametrize("which", [[3], range(6)], ids=["one", "all"])
def test_a_zero_weight_is_no_target(which: list[int]) -> None:
    inputs, targets, weights = problem(6, 4, 9)
    weights[list(which)] = 0
    d_hidden = results(ours(targets, weights), inputs, ONE)[1]
    assert d_hidden[list(which)].abs().max() == 0


def test_the_incoming_gradient_scales_and_may_come_twice() -> None:
    inputs, targets, weights = problem(6, 4, 9)
    leaves = [x.requires_grad_() for x in inputs]
    loss = ours(targets, weights)(*leaves)
    once = torch.autograd.grad(loss, leaves, retain_graph=True)
    twice = torch.autograd.grad(2 * loss, leaves)
    assert all(torch.equal(2 * one, other) for one, other in zip(once, twice, strict=True))


def test_each_row_of_log_probabilities_takes_its_own_gradient() -> None:
    inputs, targets, _ = problem(6, 4, 9)
    leaves = [x.requires_grad_() for x in inputs]
    scores = token_log_probabilities(*leaves, targets)
    seed = torch.tensor([0.0, -1.0, 0.0, 2.0, 1e-3, 0.0])
    before = seed.clone()
    d_hidden, d_weight = torch.autograd.grad(scores, leaves, seed, retain_graph=True)
    assert torch.equal(seed, before)
    expected = torch.autograd.grad(-pytorch_nll(*leaves, targets), leaves, seed)
    assert d_hidden[[0, 2, 5]].abs().max() == 0
    assert torch.allclose(d_hidden, expected[0], atol=1e-6)
    assert torch.allclose(d_weight, expected[1], atol=1e-6)
    # The gradient of a sum is one number without strides.
    summed = torch.autograd.grad(scores.sum(), leaves)
    ones = torch.autograd.grad(-pytorch_nll(*leaves, targets).sum(), leaves)
    for one, other in zip(summed, ones, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_without_gradient_the_loss_is_the_same_and_nothing_is_kept() -> None:
    inputs, targets, weights = problem(6, 4, 9)
    leaves = [x.requires_grad_() for x in inputs]
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        with torch.no_grad():
            evaluated = ours(targets, weights)(*leaves)
            scores = token_log_probabilities(*leaves, targets)
        assert not kept and not evaluated.requires_grad and not scores.requires_grad
        assert torch.equal(evaluated, ours(targets, weights)(*leaves))
    assert [x.shape for x in kept] == [(6, 4), (9, 4)]  # the finished gradients


def test_log_probabilities_keep_their_inputs_only() -> None:
    inputs, targets, _ = problem(6, 4, 9)
    leaves = [x.requires_grad_() for x in inputs]
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        token_log_probabilities(*leaves, targets)
    assert [id(x) for x in kept] == [id(x) for x in (*leaves, targets)]  # no view of the weight


def test_gradients_are_computed_only_where_they_are_wanted() -> None:
    asked: list[bool] = []

    def spy(logits: Tensor, targets: Tensor, weights: Tensor | None, nll: Tensor) -> None:
        asked.append(weights is not None)
        softmax_rows(logits, targets, weights, nll)

    (hidden, weight), targets, weights = problem(6, 4, 9)
    hidden.requires_grad_()
    with torch.no_grad():
        weighted_loss(spy, hidden, weight, targets, weights)
    weighted_loss(spy, hidden.detach(), weight, targets, weights)
    weighted_loss(spy, hidden, weight, targets, weights)
    module.log_probabilities(spy, hidden, weight, targets).sum().backward()
    assert asked == [False, False, True, False, True]


def test_rows_of_logits_begin_at_aligned_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    strides: list[int] = []

    def spy(logits: Tensor, targets: Tensor, weights: Tensor | None, nll: Tensor) -> None:
        strides.append(logits.stride(0))
        softmax_rows(logits, targets, weights, nll)

    for vocab_size in (2, 64, 65):
        (hidden, weight), targets, weights = problem(3, 4, vocab_size)
        weighted_loss(spy, hidden, weight, targets, weights)
    assert strides == [64, 64, 128]


def test_inputs_may_be_views() -> None:
    inputs, targets, weights = problem(14, 8, 9)

    def on_views(hidden: Tensor, weight: Tensor) -> Tensor:
        columns = weight.repeat(1, 2).t().contiguous().t()[:, 8:]
        return ours(targets.repeat(2)[::2], weights[:1].expand(14))(hidden.flip(0)[:, :], columns)

    plain = results(
        lambda h, w: pytorch(targets.repeat(2)[::2], weights[:1].expand(14))(h.flip(0), w),
        inputs,
        ONE,
    )
    for one, other in zip(results(on_views, inputs, ONE), plain, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_repeatable() -> None:
    inputs, targets, weights = problem(60, 32, 301)
    assert_repeatable(ours(targets, weights), inputs, ONE)
