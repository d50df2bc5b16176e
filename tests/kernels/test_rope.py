import pytest
import torch
from llama_gpt4_kernels.rope import inverse_frequencies, rope, rope_tables
from torch import Tensor
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from tests.kernels.precision import DTYPES, assert_as_exact_as_pytorch, assert_repeatable

CPU = torch.device("cpu")
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 512,
}


@pytest.mark.parametrize("head_size", [2, 6, 64, 128])
@pytest.mark.parametrize("scaling", [None, {"rope_type": "linear", "factor": 4.0}, LLAMA3])
def test_frequencies_are_hugging_faces(head_size: int, scaling: dict | None) -> None:
    config = LlamaConfig(
        hidden_size=2 * head_size,
        num_attention_heads=2,
        rope_parameters={"rope_theta": 5e5, **(scaling or {"rope_type": "default"})},
    )
    theirs = LlamaRotaryEmbedding(config).inv_freq
    ours = inverse_frequencies(head_size, 5e5, scaling, CPU)
    assert torch.allclose(ours, theirs, rtol=3e-7, atol=0)
    if scaling is None:
        assert torch.equal(ours, theirs)


def hugging_face(q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate-half with tables rounded to the heads' dtype, as `transformers` does."""
    angles = positions.float()[:, None] * inverse_frequencies(q.shape[-1], 1e4, None, CPU)
    angles = torch.cat((angles, angles), -1)
    return apply_rotary_pos_emb(q, k, angles.cos().to(q.dtype), angles.sin().to(q.dtype), 1)


def ours(q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    return rope(q, k, *rope_tables(positions, inverse_frequencies(q.shape[-1], 1e4, None, CPU)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "heads", "head_size"), [(1, 1, 2), (7, 3, 6), (50, 4, 32), (0, 1, 4)]
)
def test_as_exact_as_pytorch(n: int, heads: int, head_size: int, dtype: torch.dtype) -> None:
    positions = torch.randint(0, 3000, (n,))

    def joined(function):  # type: ignore[no-untyped-def]
        return lambda q, k: torch.cat(function(q, k, positions), 1)

    shapes = [(n, heads, head_size), (n, 1, head_size)]
    assert_as_exact_as_pytorch(joined(ours), joined(hugging_face), shapes, dtype)


def test_bf16_heads_are_turned_by_exact_angles() -> None:
    q = torch.randn(4, 2, 64).bfloat16()
    positions = torch.tensor([2047, 2047, 3, 4095])
    turned, _ = ours(q, q, positions)
    exact, _ = ours(q.float(), q.float(), positions)
    assert torch.equal(turned, exact.bfloat16())


def test_backward_turns_back() -> None:
    q = torch.randn(9, 2, 8, dtype=torch.float64, requires_grad=True)
    k = torch.randn(9, 1, 8, dtype=torch.float64, requires_grad=True)
    positions = torch.randint(0, 99, (9,))
    assert torch.autograd.gradcheck(lambda q, k: ours(q, k, positions), (q, k))
    (grad,) = torch.autograd.grad(ours(q, k, positions)[0], q, ours(q, k, positions)[0].detach())
    assert torch.allclose(grad, q, atol=1e-6)  # a turn and its inverse; the tables are float32


def test_position_zero_changes_nothing_and_all_is_repeatable() -> None:
    q, k = torch.randn(5, 2, 8), torch.randn(5, 1, 8)
    turned = ours(q, k, torch.zeros(5, dtype=torch.int64))
    assert torch.equal(turned[0], q) and torch.equal(turned[1], k)
    assert_repeatable(lambda q: ours(q, k, torch.arange(5))[0], [q], torch.randn(q.shape))
