from functools import partial

import pytest
import torch
from llama_gpt4_kernels import rope, rope_triton
from llama_gpt4_kernels.rope_triton import launch_constants
from torch import Tensor

from tests.kernels.precision import assert_as_exact_as_pytorch, assert_repeatable

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHAPES = [(1, 1, 1, 2), (7, 3, 1, 6), (5, 8, 2, 64), (2, 40, 40, 128), (17, 2, 2, 16), (0, 2, 1, 4)]
"""N, H, Hkv, K."""


def turned(module, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
    frequencies = rope.inverse_frequencies(q.shape[-1], 1e4, None, q.device)
    return module.rope(q, k, *module.rope_tables(positions, frequencies))


ours = partial(turned, rope_triton)
twin = partial(turned, rope)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_as_exact_as_the_plain_twin(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    n, n_heads, n_kv_heads, size = shape
    positions = torch.randint(0, 3000, (n,))

    def joined(function):  # type: ignore[no-untyped-def]
        return lambda q, k: torch.cat(function(q, k, positions), 1)

    shapes = [(n, n_heads, size), (n, n_kv_heads, size)]
    assert_as_exact_as_pytorch(joined(ours), joined(twin), shapes, dtype, n_draws=3)


def test_packed_projections_and_transposed_gradients() -> None:
    # With 6 and 3 heads a program turns one, so that blocks of heads begin everywhere.
    packed = torch.randn(9, (6 + 3) * 8 + 3)[2:]
    q, k = packed[:, 1:49].unflatten(1, (6, 8)), packed[:, 49:73].unflatten(1, (3, 8))
    q.requires_grad_(), k.requires_grad_()
    positions = torch.arange(7).flip(0)
    seeds = torch.randn(6, 7, 8).transpose(0, 1), torch.randn(1).expand(7, 3, 8)
    before = [x.clone() for x in (packed, *seeds)]
    found = torch.autograd.grad(ours(q, k, positions), (q, k), seeds)
    expected = torch.autograd.grad(twin(q, k, positions), (q, k), seeds)
    for one, other in zip(
        (*ours(q, k, positions), *found), (*twin(q, k, positions), *expected), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert all(map(torch.equal, before, (packed, *seeds)))


def test_one_of_two_gradients_may_be_missing() -> None:
    q, k = (torch.randn(3, 2, 8, requires_grad=True) for _ in range(2))
    out = ours(q, k, torch.arange(3))
    grads = torch.autograd.grad(out[0].sum(), (q, k), allow_unused=True)
    assert grads[1] is None or not grads[1].any()
    (expected,) = torch.autograd.grad(twin(q, k, torch.arange(3))[0].sum(), q)
    torch.testing.assert_close(grads[0], expected)


def test_far_positions_large_values_and_position_zero() -> None:
    q = torch.full((2, 1, 8), 1e4)
    once, again = ours(q, q, torch.tensor([0, 2**20]))
    assert torch.equal(once[0], q[0]) and once.isfinite().all() and torch.equal(once, again)
    # A turn keeps the length of each pair.
    torch.testing.assert_close(once.norm(dim=-1), q.norm(dim=-1))


def test_repeatable_and_keeps_the_tables_only() -> None:
    kept: list[Tensor] = []
    q, k, positions = torch.randn(5, 4, 8), torch.randn(5, 2, 8), torch.arange(5)
    assert_repeatable(lambda q: ours(q, k, positions)[0], [q], torch.randn(q.shape))
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        ours(q.requires_grad_(), k, positions)
    assert [x.shape for x in kept] == [(5, 4), (5, 4)]


def test_blocks_of_heads_divide_queries_and_keys() -> None:
    heads = {(32, 32): 16, (40, 40): 8, (64, 8): 8, (28, 4): 4, (3, 1): 1}
    for (n_heads, n_kv_heads), block in heads.items():
        assert launch_constants(n_heads, n_kv_heads, 128)["BLOCK_HEADS"] == block
