import pytest
import torch
from llama_gpt4_kernels import linear_cross_entropy as chunks
from llama_gpt4_kernels import linear_cross_entropy_triton as module
from llama_gpt4_kernels.linear_cross_entropy_triton import (
    linear_cross_entropy,
    softmax_rows,
    token_log_probabilities,
)
from torch import Tensor

from tests.kernels.precision import DTYPES, assert_as_exact_as_pytorch, assert_repeatable, results
from tests.kernels.test_linear_cross_entropy import ONE, problem, pytorch, pytorch_nll

SHAPES = [(0, 4, 5), (1, 8, 2), (7, 5, 1000), (65, 16, 1000), (9, 8, 4999), (2, 8, 49953)]


def ours(targets: Tensor, weights: Tensor):  # type: ignore[no-untyped-def]
    return lambda hidden, weight: linear_cross_entropy(hidden, weight, targets, weights)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_as_exact_as_pytorch(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows, hidden_size, vocab_size = shape
    _, targets, weights = problem(*shape)
    targets[-1:] = vocab_size - 1
    shapes = [(rows, hidden_size), (vocab_size, hidden_size)]
    assert_as_exact_as_pytorch(
        ours(targets, weights), pytorch(targets, weights), shapes, dtype, n_draws=3
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 4, 5), (7, 5, 1000), (3, 8, 4999)])
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
        n_draws=3,
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_several_chunks(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets, weights = problem(7, 8, 101)
    whole = results(ours(targets, weights), inputs, ONE)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4 * 128 * rows)
    for one, other in zip(results(ours(targets, weights), inputs, ONE), whole, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_bf16_gradient_does_not_get_worse_with_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets, weights = problem(64, 16, 50)
    low = [x.bfloat16() for x in inputs]
    truth = results(pytorch(targets, weights), [x.double() for x in low], ONE)[2]

    def error() -> float:
        return float((results(ours(targets, weights), low, ONE)[2] - truth).abs().max())

    whole = error()
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2 * 64 * 2)
    assert error() <= 1.5 * whole


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vocab_size", [2, 4097, 4999])
def test_the_row_kernel_is_its_plain_twin(vocab_size: int, dtype: torch.dtype) -> None:
    logits = 5 * torch.randn(5, -(-vocab_size // 64) * 64)
    targets, weights = torch.randint(vocab_size, (5,)), torch.rand(5)
    made = []
    for row_kernel in (softmax_rows, chunks.softmax_rows):
        z, nll = logits.to(dtype, copy=True)[:, :vocab_size], torch.empty(5)
        row_kernel(z, targets, None, nll)
        z, again = logits.to(dtype, copy=True)[:, :vocab_size], torch.empty(5)
        row_kernel(z, targets, weights, again)
        assert torch.equal(nll, again)
        made.append((nll, z))
    assert torch.allclose(made[0][0], made[1][0], rtol=1e-6, atol=1e-6)
    one_rounding = 2 * torch.finfo(dtype).eps
    assert torch.allclose(made[0][1], made[1][1], rtol=max(one_rounding, 5e-6), atol=1e-7)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, 3e38])
def test_what_lies_beyond_the_vocabulary_has_no_influence(poison: float) -> None:
    made = []
    for beyond in (0.0, poison):
        torch.manual_seed(1)
        buffer = torch.full((3, 4160), beyond)
        logits, nll = buffer[:, :4099], torch.empty(3)
        logits.copy_(torch.randn(3, 4099))
        softmax_rows(logits, torch.tensor([0, 4098, 7]), torch.rand(3), nll)
        made.append((logits.clone(), nll))
    assert all(map(torch.equal, *made))
    assert made[0][0].isfinite().all()


def test_extreme_logits_stay_finite() -> None:
    weight = torch.tensor([[1e4], [-1e4], [0.0]])
    targets = torch.tensor([1, 0])
    loss, d_hidden, _ = results(ours(targets, torch.ones(2)), [torch.ones(2, 1), weight], ONE)
    assert loss.item() == 2e4
    assert d_hidden.tolist() == [[2e4], [0.0]]


def test_a_broken_logit_is_seen_in_the_loss() -> None:
    for broken in (torch.nan, torch.inf):
        logits, nll = torch.randn(1, 64), torch.empty(1)
        logits[0, 5] = broken
        softmax_rows(logits, torch.tensor([3]), None, nll)
        assert not nll.isfinite().any()


def test_rows_without_weight_have_no_gradient() -> None:
    inputs, targets, _ = problem(3, 4, 70)
    loss, d_hidden, d_weight = results(ours(targets, torch.zeros(3)), inputs, ONE)
    assert loss == 0 and d_hidden.abs().max() == 0 and d_weight.abs().max() == 0


def test_each_row_of_log_probabilities_takes_its_own_gradient() -> None:
    inputs, targets, _ = problem(4, 4, 70)
    leaves = [x.requires_grad_() for x in inputs]
    scores = token_log_probabilities(*leaves, targets.repeat(2)[::1][:4])
    for seed in (torch.tensor([0.0, -1.0, 2.0, 0.0]), torch.ones(1).expand(4)):
        found = torch.autograd.grad(scores, leaves, seed, retain_graph=True)
        expected = torch.autograd.grad(-pytorch_nll(*leaves, targets), leaves, seed)
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def test_targets_and_weights_may_be_views() -> None:
    inputs, targets, _ = problem(4, 4, 70)
    weights = torch.full((1,), 0.25).expand(4)
    strided = torch.stack((targets, targets.roll(1)), 1)[:, 0]
    expected = results(ours(targets, weights.clone()), inputs, ONE)
    for one, other in zip(results(ours(strided, weights), inputs, ONE), expected, strict=True):
        assert torch.equal(one, other)


def test_float64_is_refused() -> None:
    (hidden, weight), targets, weights = problem(2, 4, 9)
    with pytest.raises(AssertionError, match="fp32"):
        linear_cross_entropy(hidden.double(), weight.double(), targets, weights)


def test_repeatable() -> None:
    inputs, targets, weights = problem(6, 8, 4999)
    assert_repeatable(ours(targets, weights), inputs, ONE)


def test_no_rows_launch_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "softmax_rows_kernel", None)
    (hidden, weight), targets, weights = problem(0, 4, 9)
    assert linear_cross_entropy(hidden, weight, targets, weights).item() == 0


@pytest.mark.gpu
def test_more_than_two_to_the_31_logits_in_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """70,000 rows of 32,000: the last of them begins beyond what 32 bits can count."""
    monkeypatch.setattr(chunks, "CUDA_CHUNK_BYTES", 2**40)
    n_rows, vocab_size = 70_000, 32_000
    hidden = torch.randn(n_rows, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(vocab_size, 64, device="cuda", dtype=torch.bfloat16)
    targets = torch.randint(vocab_size, (n_rows,), device="cuda")
    weights = torch.full((n_rows,), 1 / n_rows, device="cuda")
    (whole,) = torch.autograd.grad(linear_cross_entropy(hidden, weight, targets, weights), hidden)
    last = slice(n_rows - 100, n_rows)
    tail = hidden[last].detach().requires_grad_()
    (alone,) = torch.autograd.grad(
        linear_cross_entropy(tail, weight, targets[last], weights[last]), tail
    )
    assert (whole[last] - alone).norm() <= 1e-2 * alone.norm()
