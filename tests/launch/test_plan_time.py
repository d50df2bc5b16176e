"""Seconds of a step, held against sums made by hand."""

import math

import pytest
from llama_gpt4_launch.plan_time import (
    FAR_SECONDS,
    NEAR_SECONDS,
    START_SECONDS,
    all_reduce_seconds,
    flops_per_row,
    mfu,
    ring_seconds,
    row_seconds,
    step_tokens,
    times,
    tokens_per_second,
)

from .planning import case_of

WEIGHT_BYTES = 2 * 6_738_415_616
CALLS = 7 * 32 + 2


def test_arithmetic_is_flops_over_what_the_gpu_reaches() -> None:
    """About 6 a weight without the embedding, and attention: 39.8 GFLOP a token of a 7B model
    (PEERS.md 4.2), less what the last layer and the head spare on tokens without a target."""
    case = case_of("experiment=alpaca_7b", "plan.assume.compute_frac=0.5")
    per_token = flops_per_row(case) / 222
    assert 38.5e9 < per_token < 39.8e9
    assert row_seconds(case) == pytest.approx(flops_per_row(case) / (989e12 / 2))


@pytest.mark.parametrize(
    "policy, share", [("none", 0), ("lean", 0), ("attention", 0.69 / 3), ("full", 0.78 / 3)]
)
def test_what_is_computed_again_takes_time(policy: str, share: float) -> None:
    lean = row_seconds(case_of("experiment=alpaca_7b"))
    again = row_seconds(case_of("experiment=alpaca_7b", f"model.recompute={policy}"))
    assert again == pytest.approx(lean * (1 + share))


def test_float32_is_slower_than_bfloat16() -> None:
    slow = case_of("experiment=alpaca_7b", "precision.dtype=float32", "model.attention=sdpa")
    assert row_seconds(slow) == pytest.approx(
        row_seconds(case_of("experiment=alpaca_7b")) * 989 / 67
    )


def test_a_ring_moves_nearly_all_bytes_past_every_gpu() -> None:
    case = case_of("experiment=alpaca_7b", "plan.assume.bandwidth_frac=1")
    expected = 45e9 * 7 / 8 / 450e9 + START_SECONDS + 7 * NEAR_SECONDS
    assert ring_seconds(case, 45e9, 1, 1) == pytest.approx(expected)


@pytest.mark.parametrize("network, gb_s", [("8x400g", 400), ("1x400g", 50)])
def test_between_nodes_the_slower_of_link_and_adapters_counts(network: str, gb_s: float) -> None:
    case = case_of(
        "experiment=alpaca_7b",
        "plan.nodes=2",
        f"plan.network={network}",
        "plan.assume.bandwidth_frac=1",
    )
    expected = 45e9 * 15 / 16 / (gb_s * 1e9) + START_SECONDS + 14 * NEAR_SECONDS + FAR_SECONDS
    assert ring_seconds(case, 45e9, 1, 2) == pytest.approx(expected)


def test_one_gpu_talks_to_nobody() -> None:
    alone = times(case_of("experiment=alpaca_7b", "plan.gpus_per_node=1"))
    assert (alone.communication, alone.exposed) == (0, 0)


def test_a_large_all_reduce_is_a_tree_for_latency() -> None:
    case = case_of("experiment=alpaca_7b", "plan.nodes=1024")
    tree = 2 * (7 * NEAR_SECONDS + 10 * FAR_SECONDS)
    assert all_reduce_seconds(case, 0.0, 1) == pytest.approx(START_SECONDS + tree)


@pytest.mark.parametrize(
    "overrides, passes",
    [((), 3), (("model.recompute=full",), 4), (("model.recompute=attention",), 4)],
)
def test_zero_3_gathers_for_every_pass_and_reduces(overrides: tuple[str, ...], passes: int) -> None:
    case = case_of("experiment=alpaca_7b", *overrides)
    one = ring_seconds(case, WEIGHT_BYTES, CALLS, 1)
    assert times(case).communication == pytest.approx(passes * one)


def test_hpz_crosses_the_network_once_a_step_and_to_reduce() -> None:
    case = case_of("experiment=alpaca_7b", "zero=hpz", "plan.nodes=2", "plan.network=1x100g")
    assert case.micro_steps == 2
    wide, near = (ring_seconds(case, WEIGHT_BYTES, CALLS, nodes) for nodes in (2, 1))
    # A step of two micro-steps: four gathers, one of them wide, and two reductions.
    assert times(case).communication * 2 == pytest.approx(3 * wide + 3 * near)


def test_stage_1_reduces_once_a_step_and_stage_2_in_every_micro_step() -> None:
    first = times(case_of("experiment=alpaca_7b", "zero=stage1"))
    second = times(case_of("experiment=alpaca_7b", "zero=stage2"))
    assert first.communication == 0 < first.exposed
    assert second.communication > second.exposed > 0
    assert first.micro_steps == second.micro_steps == 4


def test_a_step_is_its_parts() -> None:
    took = times(case_of("experiment=alpaca_7b", "zero=offload"))
    passes = took.micro_steps * max(took.compute, took.communication)
    assert took.step == pytest.approx(passes + took.exposed + took.update + took.offload)
    assert took.offload > took.update == 0


def test_tokens_per_second_and_mfu_follow() -> None:
    case = case_of("experiment=alpaca_7b", "plan.gpus_per_node=1", "zero=stage1")
    assert step_tokens(case) == pytest.approx(128 * 222)
    assert tokens_per_second(case) == pytest.approx(128 * 222 / times(case).step)
    assert 0.4 < mfu(case) < 0.5  # one GPU waits for nobody but its update


def test_idle_gpus_do_not_help() -> None:
    few, many = (case_of("experiment=tiny", f"plan.gpus_per_node={n}") for n in (2, 8))
    assert times(few).compute == times(many).compute
    assert math.isclose(step_tokens(few), step_tokens(many))
