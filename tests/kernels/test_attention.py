import pytest
import torch
import torch.nn.functional as F
from llama_gpt4_kernels.attention import attention, plan_attention
from torch import Tensor

from tests.kernels.precision import DTYPES, assert_as_exact_as_pytorch, assert_repeatable

CPU = torch.device("cpu")
LENGTHS = [(1,), (7,), (1, 1, 1), (5, 1, 9), (33, 64, 2, 33), (200, 3)]


def ours(lengths: tuple[int, ...]):  # type: ignore[no-untyped-def]
    return lambda q, k, v: attention(q, k, v, plan_attention(lengths, CPU))


def masked(lengths: tuple[int, ...], prefixes: tuple[range, ...] = ()):  # type: ignore[no-untyped-def]
    """PyTorch's attention over all tokens at once, under a block-diagonal causal mask and, for the
    documents that have one, their prefix."""
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    allowed = (document[:, None] == document[None]).tril()
    for number, prefix in enumerate(prefixes):
        allowed[document == number, prefix.start : prefix.stop] = True

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, enable_gqa=True)
        return mixed[0].transpose(0, 1)

    return run


PREFIXED = [
    ((7, 3), (range(0), range(4))),
    ((5, 1, 1, 9), (range(0), range(5), range(0), range(6, 7))),
    ((40, 33, 64, 2, 33), (range(0), range(31), range(31), range(0), range(137, 138))),
]
"""Documents, and the rows before each that it sees as well."""


def ours_prefixed(lengths: tuple[int, ...], prefixes: tuple[range, ...]):  # type: ignore[no-untyped-def]
    return lambda q, k, v: attention(q, k, v, plan_attention(lengths, CPU, prefixes))


def heads(n: int, n_heads: int, n_kv_heads: int, size: int) -> list[Tensor]:
    return [torch.randn(n, h, size) for h in (n_heads, n_kv_heads, n_kv_heads)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(2, 2), (4, 2), (3, 1)])
def test_as_exact_as_pytorch(
    lengths: tuple[int, ...], n_heads: int, n_kv_heads: int, dtype: torch.dtype
) -> None:
    shapes = [(sum(lengths), n, 6) for n in (n_heads, n_kv_heads, n_kv_heads)]
    assert_as_exact_as_pytorch(ours(lengths), masked(lengths), shapes, dtype, n_draws=4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("lengths", "prefixes"), PREFIXED)
@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(2, 2), (4, 2)])
def test_prefixes_as_exact_as_pytorch(
    lengths: tuple[int, ...],
    prefixes: tuple[range, ...],
    n_heads: int,
    n_kv_heads: int,
    dtype: torch.dtype,
) -> None:
    shapes = [(sum(lengths), n, 6) for n in (n_heads, n_kv_heads, n_kv_heads)]
    mine, theirs = ours_prefixed(lengths, prefixes), masked(lengths, prefixes)
    assert_as_exact_as_pytorch(mine, theirs, shapes, dtype, n_draws=4)


def test_gradcheck() -> None:
    inputs = [x.double().requires_grad_() for x in heads(6, 4, 2, 4)]
    assert torch.autograd.gradcheck(ours((4, 2)), inputs)
    assert torch.autograd.gradcheck(ours_prefixed((4, 2), (range(0), range(1, 3))), inputs)


def test_a_document_is_bitwise_what_it_is_alone_and_neighbours_do_not_matter() -> None:
    lengths = (30, 70, 11)
    q, k, v = heads(111, 4, 2, 16)
    packed = ours(lengths)(q, k, v)
    mine = slice(30, 100)
    assert torch.equal(packed[mine], ours((70,))(q[mine], k[mine], v[mine]))
    for x in (q, k, v):
        x[:30], x[100:] = torch.nan, 1e30
    assert torch.equal(ours(lengths)(q, k, v)[mine], packed[mine])


def test_repeatable() -> None:
    assert_repeatable(ours((50, 14, 36)), heads(100, 4, 2, 16), torch.randn(100, 4, 16))


def test_lengths_must_be_positive_and_fill_the_tokens() -> None:
    with pytest.raises(AssertionError):
        plan_attention((3, 0), CPU)
    with pytest.raises(RuntimeError):
        ours((3, 4))(*heads(8, 2, 2, 4))
    with pytest.raises(AssertionError, match="range"):
        plan_attention((3, 4), CPU, (range(0), range(2, 4)))  # its own rows
