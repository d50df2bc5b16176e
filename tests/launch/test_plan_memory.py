"""Bytes on a GPU by hand-made sums; tests/distributed/test_plan.py holds states against engines."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from llama_gpt4_kernels.linear_cross_entropy import CUDA_CHUNK_BYTES
from llama_gpt4_kernels.reference import REFERENCE
from llama_gpt4_launch.plan_case import GIB
from llama_gpt4_launch.plan_memory import (
    LOGIT_CHUNK_BYTES,
    activation_bytes,
    disk_bytes,
    fits,
    host_bytes,
    largest_rows,
    memory,
    state_bytes,
)

from llama_gpt4.architecture import LlamaConfig
from tests.llama_gpt4.test_model import LLAMA1, build
from tests.llama_gpt4.test_recompute import LiveBytes

from .planning import case_of

N_7B = 6_738_415_616


@pytest.mark.parametrize(
    "overrides, bytes_per_parameter",
    [
        (("zero=stage1",), 2 + 6 + 12 / 8),
        (("zero=stage2",), 2 + 16 / 8),
        (("zero=stage3",), 18 / 8),
        (("zero=stage3", "batch.rows_per_micro_step=16"), 16 / 8),
        (("zero=hpz",), 18 / 8 + 2 / 8),
        (("zero=stage0", "precision.dtype=float32", "model.attention=sdpa"), 16),
        (("zero=stage3", "precision.dtype=float32", "model.attention=sdpa"), 20 / 8),
        (("zero=offload",), 0),
    ],
)
def test_state_by_stage(overrides: tuple[str, ...], bytes_per_parameter: float) -> None:
    """On 8 GPUs, to a thousandth of a byte: the rounding and the small parameters on top."""
    state = state_bytes(case_of("experiment=alpaca_7b", *overrides))
    assert abs(state.total / N_7B - bytes_per_parameter) < 1e-3


def test_the_host_holds_a_copy_of_what_is_being_saved() -> None:
    processes = 8 * 4 * GIB
    assert host_bytes(case_of("experiment=alpaca_7b")) == processes + 12 * N_7B
    two = case_of("experiment=alpaca_7b", "plan.nodes=2")
    assert host_bytes(two) == processes + 12 * N_7B // 2
    float32 = ("precision.dtype=float32", "model.attention=sdpa")
    replicas = case_of("experiment=alpaca_7b", "zero=stage0", *float32, "plan.nodes=2")
    assert host_bytes(replicas) == processes + 12 * N_7B


def test_offloading_moves_the_state_to_the_host() -> None:
    offloaded = state_bytes(case_of("experiment=alpaca_7b", "zero=offload"))
    assert abs(offloaded.host / N_7B - (18 + 4) / 8) < 1e-3
    assert host_bytes(case_of("experiment=alpaca_7b", "zero=offload")) > 22 * N_7B


@pytest.mark.parametrize(
    "policy, kib", [("none", 128.5), ("lean", 91), ("attention", 24), ("full", 8)]
)
def test_activations_are_those_that_recompute_states(policy: str, kib: float) -> None:
    case = case_of("experiment=alpaca_7b", f"model.recompute={policy}")
    assert activation_bytes(case) == kib * 1024


def test_the_parts_add_up() -> None:
    held = memory(case_of("experiment=alpaca_7b", "plan.assume.fragmentation_frac=0.5"))
    assert held.in_pass > held.update
    parts = held.state.total + held.buckets + held.in_pass + held.fragmentation + held.context
    assert held.total == parts
    assert held.fragmentation == held.in_pass // 2
    assert held.context == 2 * GIB
    # 4 rows of 2,048 tokens, 91 KiB each, 32 layers.
    assert held.activations == 4 * 2048 * 91 * 1024 * 32


def test_the_update_counts_where_it_takes_more_than_a_pass() -> None:
    case = case_of(
        "experiment=alpaca_7b", "zero=stage1", "batch.rows_per_micro_step=1", "data.row_tokens=2"
    )
    held = memory(case)
    assert held.update == (4 + 2) * 500_000_000 > held.in_pass
    assert held.total - held.fragmentation - held.context == (
        held.state.total + held.buckets + held.update
    )


def test_the_logits_chunk_is_the_loss_heads() -> None:
    assert LOGIT_CHUNK_BYTES == CUDA_CHUNK_BYTES


def test_the_largest_micro_batch_is_the_last_that_fits() -> None:
    case = case_of("experiment=alpaca_7b", "plan.gpu=h100")
    rows = largest_rows(case)
    assert 1 < rows < 128
    assert fits(case.with_rows(rows)) and not fits(case.with_rows(rows + 1))


def test_it_is_the_whole_batch_or_nothing_at_the_ends() -> None:
    assert largest_rows(case_of("experiment=tiny")) == 4
    assert largest_rows(case_of("experiment=alpaca_13b", "plan.gpus_per_node=1")) == 0


def test_known_lengths_bound_a_padded_micro_batch() -> None:
    case = case_of("experiment=alpaca_7b")
    known = replace(case, workload=replace(case.workload, longest=(500, 400, 300, 200, 100)))
    assert memory(known).activations == 1400 * 91 * 1024 * 32
    assert memory(known).activations < memory(case).activations


def test_checkpoints_take_twelve_bytes_a_parameter() -> None:
    kept, model = disk_bytes(case_of("experiment=alpaca_7b", "train.keep_checkpoints=2"))
    assert (kept, model) == (3 * 12 * N_7B, 2 * N_7B)
    best, _ = disk_bytes(case_of("experiment=alpaca_7b", "data.validation.share=0.1"))
    assert best == 3 * 12 * N_7B
    limit = f"train.keep_checkpoint_bytes={2 * 12 * N_7B}"
    kept, _ = disk_bytes(case_of("experiment=alpaca_7b", "train.keep_checkpoints=9", limit))
    assert kept == 3 * 12 * N_7B


@pytest.mark.parametrize("policy", ["none", "lean", "attention", "full"])
@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_activations_are_what_a_real_layer_keeps(policy: str, n_kv_heads: int) -> None:
    """Of bfloat16, with grouped queries as well. Beside them a layer keeps statistics of its rows
    and its norm weights: at most 24 values a token, as tests/llama_gpt4/test_recompute.py has it.
    """
    case = case_of("experiment=alpaca_7b", f"model.recompute={policy}")
    tokens = torch.randint(97, (64,))
    given: Any = (tokens, torch.arange(64), (64,), torch.tensor([63]), tokens[:1], torch.ones(1))

    def sized(n_layers: int) -> LlamaConfig:
        sizes = {"hidden_size": 64, "feed_forward_size": 172, "head_size": 16, "n_heads": 4}
        return replace(LLAMA1, **sizes, n_kv_heads=n_kv_heads, n_layers=n_layers)

    def kept(n_layers: int) -> int:
        model = build(sized(n_layers), policy, REFERENCE).to(torch.bfloat16)
        with LiveBytes() as live:
            loss = model(*given)
        total = live.total
        del loss
        return total

    measured = (kept(4) - kept(2)) / 2 / 64
    planned = activation_bytes(replace(case, architecture=sized(1)))
    assert planned <= measured <= planned + 2 * 24
