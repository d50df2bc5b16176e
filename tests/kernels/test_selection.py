from dataclasses import fields

import pytest
import torch
from llama_gpt4_kernels import packed_attention
from llama_gpt4_kernels.fused import FUSED
from llama_gpt4_kernels.operators import Operators
from llama_gpt4_kernels.reference import REFERENCE
from llama_gpt4_kernels.selection import UnavailableError, select_operators

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_what_was_asked_for_is_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert select_operators("reference", "sdpa", CPU) is REFERENCE
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert select_operators("fused", "sdpa", CPU) is FUSED


def test_fused_shares_no_operator_with_the_reference_but_attention() -> None:
    names = [field.name for field in fields(Operators)]
    shared = {name for name in names if getattr(FUSED, name) is getattr(REFERENCE, name)}
    assert shared == {"plan_attention", "attention"}


def test_nothing_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UnavailableError, match="need a CUDA device, not cpu"):
        select_operators("fused", "sdpa", CPU)
    with pytest.raises(UnavailableError, match="attention varlen needs a CUDA device"):
        select_operators("reference", "varlen", CPU)
    with pytest.raises(UnavailableError, match="flash_attn_2 is not installed"):
        select_operators("reference", "flash_attn_2", CUDA)


def test_an_old_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(UnavailableError, match="Tesla T4 has less"):
        select_operators("fused", "sdpa", CUDA)


def test_varlen_replaces_attention_and_its_plan_alone() -> None:
    chosen = select_operators("reference", "varlen", CUDA)
    assert chosen.plan_attention is packed_attention.plan_attention
    assert chosen.attention is not REFERENCE.attention
    assert chosen.rope is REFERENCE.rope
