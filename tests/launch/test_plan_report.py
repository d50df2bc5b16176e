"""A plan as it is printed."""

import re

import pytest
from llama_gpt4_launch import plan_report as report
from llama_gpt4_launch.plan_advice import layouts, recommended
from llama_gpt4_launch.plan_config import PlannedConfig
from llama_gpt4_launch.plan_memory import memory, state_bytes

from llama_gpt4.compose import compose
from llama_gpt4.schedule import Plan, plan_steps

from .planning import case_of


def schedule(*overrides: str) -> tuple[PlannedConfig, Plan]:
    config = compose(PlannedConfig, "plan", ["experiment=alpaca_7b", *overrides])
    return config, plan_steps(config, 406)


def test_the_curve_is_the_schedules() -> None:
    lines = report.curve(*schedule()).splitlines()
    assert lines[1] == "learning rate (cosine)"
    marks = lines[2 : 2 + report.CURVE_LINES + 1]
    assert marks[0].startswith("  2.0e-05 |") and marks[-1].startswith("        0 |*")
    columns = [{column for column, mark in enumerate(line[11:]) if mark == "*"} for line in marks]
    assert set().union(*columns) == set(range(report.CURVE_COLUMNS))
    assert sum(map(len, columns)) == report.CURVE_COLUMNS  # one mark a column
    assert max(columns[-1]) == report.CURVE_COLUMNS - 1  # down to 0
    assert 36 in columns[report.CURVE_LINES // 2]  # half of the peak half-way
    assert lines[-1].endswith("1,218")


def test_the_curve_of_another_schedule_is_another() -> None:
    flat = report.curve(*schedule("schedule.kind=constant", "schedule.warmup_frac=0"))
    assert flat.splitlines()[2].count("*") == report.CURVE_COLUMNS
    short = report.curve(*schedule("schedule.steps=3", "schedule.warmup_frac=0"))
    assert short.count("*") == 3


def test_memory_is_told_in_parts_that_add_up() -> None:
    case = case_of("experiment=alpaca_7b")
    text = report.memory_lines(case)
    numbers = [float(n) for n in re.findall(r"^  .{20} *([\d.]+)", text, re.MULTILINE)]
    assert abs(sum(numbers[:-1]) - numbers[-1]) < 0.06
    assert abs(numbers[-1] - memory(case).total / 2**30) < 0.006
    assert f"{state_bytes(case).weights / 2**30:.2f}" in text
    assert "of 140.4: fits; largest micro-batch" in text


def test_an_update_that_takes_more_than_a_pass_is_named() -> None:
    keys = ("zero=stage1", "batch.rows_per_micro_step=1", "data.row_tokens=2")
    text = report.memory_lines(case_of("experiment=alpaca_7b", *keys))
    assert "update" in text and "activations" not in text


def test_what_does_not_fit_is_marked() -> None:
    case = case_of("experiment=alpaca_7b", "plan.gpus_per_node=1")
    assert "140.4: fits" not in report.memory_lines(case_of("experiment=alpaca_13b", "zero=stage1"))
    table = report.layout_table(case, layouts(case)).splitlines()
    assert any(line.startswith("> zero=stage3") for line in table)
    assert re.search(r"zero=stage1 +\d+\.\d!", "\n".join(table))


def test_two_nodes_with_the_papers_batch_are_bound_by_communication() -> None:
    """128 examples of 222 tokens on 16 GPUs."""
    text = report.bottleneck(case_of("experiment=alpaca_7b", "plan.nodes=2"))
    assert "bound by communication" in text and "1,776 tokens a busy GPU" in text
    assert re.search(r"2 nodes are 1\.\d\d times as fast as one", text)
    assert "global batch is too small" in text


def test_a_full_batch_on_one_node_is_bound_by_arithmetic() -> None:
    text = report.bottleneck(case_of("experiment=alpaca_7b", "batch.rows_per_micro_step=16"))
    assert "bound by arithmetic" in text and "nodes are" not in text


def test_idle_gpus_are_named() -> None:
    case = case_of("experiment=en_zh_13b", "plan.nodes=2")  # 32 rows, 4 a micro-batch, 16 GPUs
    assert case.idle_gpus == 8
    _, plan = schedule()
    assert "8 of 16 GPUs have none" in report.data_lines(case, plan)
    assert "gives\nrows to idle GPUs" in report.bottleneck(case)
    found = recommended(case)
    assert found is not None and found[0] == "batch.rows_per_micro_step=2"
    assert found[1].idle_gpus == 0


def test_offloading_is_named_where_it_is_most_of_a_step() -> None:
    assert "offloading" in report.bottleneck(
        case_of("experiment=alpaca_7b", "zero=offload", "batch.rows_per_micro_step=16")
    )


def test_the_recommendation_compares() -> None:
    case = case_of("experiment=alpaca_7b", "plan.nodes=2")
    text = report.recommendation(case, recommended(case), recommended(case, same_loss=False))
    assert text.startswith("Recommended: zero=stage2\n")
    assert "\n  now   " in text and "\n  then  " in text
    assert "With loss.normalisation=global_tokens" in text
    assert report.recommendation(case, None, None).startswith("Recommended: as it is")


def test_the_scaling_table_goes_to_1024_nodes() -> None:
    case = case_of("experiment=alpaca_7b", "plan.gpu=h100", "zero=hpz")
    lines = report.scaling_table(case).splitlines()[3:]
    nodes = [int(line.split()[0].replace(",", "")) for line in lines if line]
    assert nodes == [2**k for k in range(11)]
    assert float(lines[0].split()[5]) == 1.0


@pytest.mark.parametrize(
    "keys",
    [
        ("experiment=tiny",),
        ("experiment=alpaca_13b", "plan.nodes=1024"),
        ("experiment=gpt4llm_release", "plan.nodes=4", "plan.gpus_per_node=4"),
    ],
)
def test_lines_are_no_wider_than_a_terminal(keys: tuple[str, ...]) -> None:
    case = case_of(*keys)
    text = (
        report.memory_lines(case)
        + report.storage_lines(case)
        + report.layout_table(case, layouts(case))
        + report.bottleneck(case)
        + report.recommendation(case, recommended(case), recommended(case, same_loss=False))
        + report.scaling_table(case)
        + report.NOTES
    )
    assert max(map(len, text.splitlines())) <= 100
