"""What makes a run fit, and what makes it faster."""

import pytest
from llama_gpt4_launch.plan_advice import fastest, layouts, levers, recommended
from llama_gpt4_launch.plan_memory import fits
from llama_gpt4_launch.plan_time import tokens_per_second

from .planning import case_of


def test_layouts_are_those_that_the_precision_and_nodes_allow() -> None:
    one = [layout.override for layout in layouts(case_of("experiment=alpaca_7b"))]
    assert one == ["zero=stage1", "zero=stage2", "zero=stage3", "zero=offload"]
    two = [layout.override for layout in layouts(case_of("experiment=tiny", "plan.nodes=2"))]
    assert two[0] == "zero=stage0" and "zero=hpz" in two
    four = case_of("experiment=tiny", "plan.nodes=2", "plan.gpus_per_node=4")
    assert "zero=hpz zero.hpz_processes=4" in [layout.override for layout in layouts(four)]


@pytest.mark.parametrize(
    "overrides, expected",
    [
        # Too many activations.
        (("plan.gpu=a100_40gb",), ["model.recompute=attention", "batch.rows_per_micro_step=2"]),
        # Too much state for one GPU at all.
        (("plan.gpus_per_node=1", "plan.gpu=h100"), ["zero=offload"]),
        # Replicated parameters and gradients.
        (("zero=stage1", "plan.gpu=h100"), ["zero=stage2", "zero=stage3"]),
    ],
)
def test_levers_are_single_changes_that_fit(
    overrides: tuple[str, ...], expected: list[str]
) -> None:
    case = case_of("experiment=alpaca_7b", *overrides)
    assert not fits(case)
    found = [lever.rpartition(" (")[0] for lever in levers(case)]
    assert set(expected) <= set(found), found


def test_then_all_at_once_then_more_nodes_then_nothing() -> None:
    keys = ["experiment=alpaca_13b", "plan.gpus_per_node=1", "plan.gpu=rtx_4090"]
    [together] = levers(case_of(*keys))
    assert together.startswith("zero=offload model.recompute=full batch.rows_per_micro_step=1 (")
    small = "+plan.gpus.mine={memory_gib: 7, bfloat16_tflops: 1, float32_tflops: 1, "
    small += "memory_gb_s: 1, link_gb_s: 1, host_gb_s: 1}"
    assert levers(case_of("experiment=alpaca_13b", small, "plan.gpu=mine")) == []


def test_more_nodes_are_named_where_they_alone_help() -> None:
    case = case_of(
        "experiment=alpaca_13b", "plan.gpus_per_node=1", "plan.gpu=h200", "zero=stage3",
        "model.recompute=full", "batch.rows_per_micro_step=1",
    )  # fmt: skip
    assert not fits(case)
    assert any(lever.startswith("zero=offload") for lever in levers(case))


def test_what_is_recommended_fits_and_is_faster() -> None:
    case = case_of("experiment=alpaca_7b", "plan.nodes=2")
    found = recommended(case)
    assert found is not None
    override, changed = found
    assert override == "zero=stage2"  # one of less communication, and the state has room
    assert fits(changed) and tokens_per_second(changed) > 1.03 * tokens_per_second(case)
    assert recommended(changed) is None


def test_the_micro_batch_stays_where_the_loss_hangs_on_it() -> None:
    case = case_of("experiment=alpaca_7b", "plan.nodes=2")
    assert case.config.loss.normalisation == "micro_batch"
    kept, free = recommended(case), recommended(case, same_loss=False)
    assert kept is not None and "rows" not in kept[0]
    assert free is not None and "batch.rows_per_micro_step=8" in free[0]
    assert tokens_per_second(free[1]) > tokens_per_second(kept[1])


def test_hpz_is_recommended_where_the_network_is_slow_and_the_state_is_large() -> None:
    case = case_of(
        "experiment=alpaca_13b", "plan.nodes=2", "plan.network=1x400g", "plan.gpu=a100_80gb"
    )
    speeds = {layout.override: tokens_per_second(layout.case) for layout in layouts(case)}
    assert speeds["zero=hpz"] > speeds["zero=stage3"]


def test_nothing_fits_nothing_is_fastest() -> None:
    assert fastest(case_of("experiment=alpaca_7b", "plan.assume.context_gib=141")) is None
