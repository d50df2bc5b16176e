"""Run with: pytest tests/llama_gpt4/test_schedule.py"""

import math
import subprocess
import sys
from fractions import Fraction
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_gpt4.schedule import learning_rate, warmup_steps

KINDS = ("cosine", "linear", "constant", "log_warmup_constant")


@pytest.mark.parametrize(
    ("total", "warmup"),
    [(2436, 74), (2289, 69), (1218, 37), (2030, 61)],
    ids=["release", "release in Chinese", "alpaca 7B", "alpaca 13B"],
)
def test_warm_up_of_the_published_recipes(total, warmup):
    assert warmup_steps(0.03, total) == warmup


def test_warm_up_is_rounded_up_from_the_decimal_number():
    assert math.ceil(0.07 * 100) == 8  # what floating point alone would say
    assert warmup_steps(0.07, 100) == 7
    assert warmup_steps(0.03, 1200) == 36
    assert warmup_steps(0.03, 1201) == 37
    assert warmup_steps(0, 1200) == 0 and warmup_steps(1, 1200) == 1200
    assert warmup_steps(1e-05, 100_001) == 2


@given(st.integers(0, 1000), st.integers(1, 100_000))
def test_warm_up_is_the_exact_ceiling(thousandths, total):
    assert warmup_steps(thousandths / 1000, total) == math.ceil(Fraction(thousandths, 1000) * total)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_update_has_rate_0_and_the_warm_up_ends_at_the_peak(kind):
    rate = partial(learning_rate, kind=kind, peak=2e-5, warmup_steps=74, total_steps=2436)
    assert rate(0) == 0
    assert rate(74) == 2e-5
    rising = [rate(step) for step in range(74)]
    assert rising == sorted(rising) and rising[-1] <= 2e-5


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_linear_warm_up(kind):
    rate = partial(learning_rate, kind=kind, peak=1.0, warmup_steps=4, total_steps=12)
    assert [rate(step) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]


def test_curves_after_the_warm_up():
    curves = {
        kind: [
            learning_rate(step, kind=kind, peak=1.0, warmup_steps=4, total_steps=12)
            for step in (4, 6, 8, 10, 12, 13, 99)
        ]
        for kind in KINDS
    }
    half = math.sqrt(0.5)
    assert curves["cosine"] == pytest.approx([1, (1 + half) / 2, 0.5, (1 - half) / 2, 0, 0, 0])
    assert curves["linear"] == [1, 0.75, 0.5, 0.25, 0, 0, 0]
    assert curves["constant"] == curves["log_warmup_constant"] == [1] * 7


def test_the_curve_of_the_released_configuration():
    rate = partial(
        learning_rate, kind="log_warmup_constant", peak=2e-5, warmup_steps=74, total_steps=2436
    )
    for step in range(74):
        assert rate(step) == pytest.approx(2e-5 * math.log(step + 1) / math.log(74), rel=1e-12)
    assert rate(73) == pytest.approx(2e-5, rel=1e-12)
    assert all(rate(step) == 2e-5 for step in range(74, 2436))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (0, 3), (1, 1), (1, 3), (2, 2), (3, 3)])
def test_the_shortest_schedules_stay_within_0_and_the_peak(kind, warmup, total):
    for step in range(total + 2):
        rate = learning_rate(step, kind=kind, peak=1.0, warmup_steps=warmup, total_steps=total)
        assert 0 <= rate <= 1
    if not warmup:
        assert learning_rate(0, kind=kind, peak=1.0, warmup_steps=0, total_steps=total) == 1


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_the_curve_is_that_of_hugging_face(kind):
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-5)
    name = "constant_with_warmup" if kind == "constant" else kind
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=6, num_training_steps=40)
    for step in range(40):
        ours = learning_rate(step, kind=kind, peak=2e-5, warmup_steps=6, total_steps=40)
        assert ours == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9, abs=1e-18)
        optimizer.step()
        scheduler.step()


def test_planning_a_run_does_not_import_torch():
    code = (
        "import sys, llama_gpt4.schedule, llama_gpt4.packing, llama_gpt4.batches; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
