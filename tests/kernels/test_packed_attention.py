"""Without a GPU: that libraries are called as they ask to be. With one: what they return."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from llama_gpt4_kernels.attention import attention
from llama_gpt4_kernels.attention import plan_attention as plan_sdpa
from llama_gpt4_kernels.packed_attention import _varlen, attention_of, plan_attention
from torch import Tensor

LENGTHS = (3, 1, 7)


def heads(n: int, n_kv_heads: int, device: str) -> list[Tensor]:
    return [
        torch.randn(n, h, 16, device=device, dtype=torch.bfloat16, requires_grad=True)
        for h in (4, n_kv_heads, n_kv_heads)
    ]


def test_boundaries() -> None:
    plan = plan_attention(LENGTHS, torch.device("cpu"))
    assert plan.starts.tolist() == [0, 3, 4, 11] and plan.starts.dtype == torch.int32
    assert plan.longest == 7
    with pytest.raises(AssertionError):
        plan_attention((3, 0), torch.device("cpu"))


def test_boundaries_of_keys_where_documents_have_prefixes() -> None:
    plan = plan_attention(LENGTHS, torch.device("cpu"), (range(0), range(2), range(1, 3)))
    assert plan.starts.tolist() == [0, 3, 4, 11] and plan.longest == 7
    assert plan.key_starts.tolist() == [0, 3, 6, 15] and plan.longest_keys == 9
    assert plan.keys is not None and plan.keys.dtype == plan.key_starts.dtype == torch.int32
    assert plan.keys.tolist() == [0, 1, 2, 0, 1, 3, 1, 2, *range(4, 11)]
    k = torch.arange(11)[:, None, None]
    assert all(seen.flatten().tolist() == plan.keys.tolist() for seen in plan.seen(k, k))
    with pytest.raises(AssertionError, match="range"):
        plan_attention(LENGTHS, torch.device("cpu"), (range(0), range(4), range(0)))


@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_the_installed_pytorch_takes_the_call(n_kv_heads: int) -> None:
    """On the meta device its own checks and its backward run, without a result."""
    q, k, v = heads(11, n_kv_heads, "meta")
    prefixes = (range(0), range(2), range(3))
    plan = plan_attention(LENGTHS, torch.device("meta"), prefixes)
    out = attention_of("varlen")(q, k, v, plan)
    assert out.shape == q.shape and out.dtype == q.dtype
    out.sum().backward()
    assert q.grad is not None and k.grad is not None and k.grad.shape == k.shape


@pytest.mark.parametrize(
    ("parameters", "options", "kv_heads"),
    [
        ({"is_causal"}, {"is_causal": True}, 4),
        ({"window_size"}, {"window_size": (-1, 0)}, 4),
        ({"window_size", "enable_gqa"}, {"window_size": (-1, 0), "enable_gqa": True}, 2),
    ],
    ids=["2.10", "2.11", "2.12"],
)
def test_every_spelling_of_causal_and_shared_heads(
    parameters: set[str], options: dict[str, Any], kv_heads: int
) -> None:
    given: dict[str, Any] = {}

    def call(q: Tensor, k: Tensor, v: Tensor, *positional: Any, **named: Any) -> Tensor:
        given.update(named, kv_heads=k.shape[1], longest=positional[2:])
        return q

    plan = plan_attention(LENGTHS, torch.device("cpu"))
    _varlen(call, frozenset(parameters), *heads(11, 2, "cpu"), plan)
    assert given == {**options, "kv_heads": kv_heads, "longest": (7, 7)}


@pytest.mark.parametrize("prefixes", [(), (range(0), range(2), range(1, 3))])
@pytest.mark.parametrize("name", ["flash_attn_2", "flash_attn_3"])
def test_flash_attention_keeps_documents_apart_and_the_future_out(
    name: str, prefixes: tuple[range, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its function as both packages document it, written out for the CPU."""
    given: dict[str, Any] = {}

    def flash_attn_varlen_func(
        q: Tensor, k: Tensor, v: Tensor,
        cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, max_seqlen_q: int, max_seqlen_k: int,
        **named: Any,
    ) -> Any:  # fmt: skip
        given.update(named)
        sizes = [cu.diff().tolist() for cu in (cu_seqlens_q, cu_seqlens_k)]
        assert [max(each) for each in sizes] == [max_seqlen_q, max_seqlen_k]
        out = torch.cat(
            [
                attend_to_the_last(*document)
                for document in zip(
                    q.split(sizes[0]), k.split(sizes[1]), v.split(sizes[1]), strict=True
                )
            ]
        )
        return out if name == "flash_attn_2" else (out, None)  # early releases of 3 return two

    module = ModuleType("installed")
    module.flash_attn_varlen_func = flash_attn_varlen_func  # type: ignore[attr-defined]
    package = {"flash_attn_2": "flash_attn", "flash_attn_3": "flash_attn_interface"}[name]
    monkeypatch.setitem(sys.modules, package, module)
    inputs = [x.detach().float() for x in heads(11, 2, "cpu")]
    cpu = torch.device("cpu")
    packed = attention_of(name)(*inputs, plan_attention(LENGTHS, cpu, prefixes))
    assert given == {"causal": True, "deterministic": False}
    apart = attention(*inputs, plan_sdpa(LENGTHS, cpu, prefixes))
    assert torch.allclose(packed, apart, rtol=0, atol=1e-5)


def attend_to_the_last(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One document, causal from the last query and the last key backwards."""
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    past = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
    mixed = F.scaled_dot_product_attention(q[None], k[None], v[None], past, enable_gqa=True)
    return mixed[0].transpose(0, 1)


def test_a_package_that_is_not_there() -> None:
    with pytest.raises(ImportError, match="flash_attn"):
        attention_of("flash_attn_3")


@pytest.mark.gpu
@pytest.mark.parametrize("prefixes", [(), (range(0), range(250), range(0), range(301))])
@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_equals_one_call_a_document(n_kv_heads: int, prefixes: tuple[range, ...]) -> None:
    device = torch.device("cuda")
    lengths = (300, 1, 64, 129)
    inputs = heads(sum(lengths), n_kv_heads, "cuda")
    seed = torch.randn_like(inputs[0])
    one = attention_of("varlen")(*inputs, plan_attention(lengths, device, prefixes))
    other = attention(*inputs, plan_sdpa(lengths, device, prefixes))
    mine_all, theirs_all = ((x, *torch.autograd.grad(x, inputs, seed)) for x in (one, other))
    for mine, theirs in zip(mine_all, theirs_all, strict=True):
        assert (mine - theirs).norm() <= 2e-2 * theirs.norm()
