"""Curves of losses as their files grow, and who is behind whom."""

import json
from pathlib import Path

import pytest
from llama_gpt4_launch.sweep_curve import Curve, is_behind


def line(step: int, **values: float) -> str:
    return json.dumps({"step": step, **values}) + "\n"


def curve(*values: float, first: int = 1) -> Curve:
    made = Curve(Path("nowhere"), "loss")
    made.values = dict(enumerate(values, first))
    return made


def test_a_curve_follows_its_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    followed = Curve(path, "loss")
    assert not followed.update()
    assert followed.last is None

    whole = line(2, loss=3.0)
    with path.open("a", buffering=1) as file:
        file.write(line(1, loss=4.0) + whole[:7])
        file.flush()
        assert followed.update()
        assert followed.values == {1: 4.0}, "a line that is not whole yet waits"
        file.write(whole[7:] + line(2, eval_loss=9.0) + line(2, save_stall_seconds=0.1))
    assert followed.update()
    assert followed.values == {1: 4.0, 2: 3.0}
    assert not followed.update()
    assert (followed.last, followed.last_step) == (3.0, 2)


def test_a_resumed_run_takes_its_last_steps_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1, loss=4.0) + line(2, loss=3.0) + line(3, loss=2.0))
    followed = Curve(path, "loss")
    followed.update()
    aside = tmp_path / "aside"
    aside.write_text(line(1, loss=4.0))
    aside.replace(path)
    assert followed.update()
    assert followed.values == {1: 4.0}


@pytest.mark.parametrize(
    "others, behind",
    [
        ([1, 2, 3], True),
        ([1, 2], False),  # too few to say
        ([1, 4, 5], False),  # as low as the median
        ([1, 3, 9, 9], False),
    ],
)
def test_the_median_rule(others: list[float], behind: bool) -> None:
    mine = curve(6, 4, 5)  # the lowest so far, not the last
    assert is_behind(mine, others, after_steps=3) is behind
    assert not is_behind(mine, others, after_steps=4), "its time has not come"


def test_nothing_is_behind_before_its_first_value() -> None:
    assert not is_behind(curve(), [1, 1, 1], after_steps=1)


def test_only_what_a_trial_had_reached_by_then_counts() -> None:
    assert curve(5, 4, 1).lowest(2) == 4
    assert curve(5, 4, first=3).lowest(2) is None
