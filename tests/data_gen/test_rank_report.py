"""The report of a ranking, in numbers that can be worked out by hand, and its picture."""

from pathlib import Path

import numpy as np
import pytest
from llama_gpt4_data.rank_report import draw, report_of, table
from llama_gpt4_data.ranked import Ranked, ranked

from .ranking import candidates

ASKED = candidates(["aa", "a", "a"], ["b", "bb", "b"])
OTHERS = [each.answers[0] for each in candidates(["x"], ["yyyy"])]
REWARDS = np.array([[4.0, 1.0, 1.0, 2.0], [10.0, 13.0, 10.0, 13.0]])


def whole() -> Ranked:
    return ranked(ASKED, OTHERS, REWARDS)


def test_groups_count_from_the_mean_of_their_own_question() -> None:
    report = report_of(whole())
    groups = {row["group"]: row for row in report["groups"]}
    assert [*groups] == ["R1", "R2", "R3", "B"]
    assert groups["R1"]["over_mean_answer"] == {"value": 2, "low": 2, "high": 2}
    assert groups["R3"]["over_mean_answer"]["value"] == -1
    assert groups["B"]["over_mean_answer"] == {"value": 1, "low": 0, "high": 2}
    assert groups["R1"]["mean_reward"] == 8.5 and groups["B"]["mean_characters"] == 2.5
    assert report["questions"] == 2 and report["answers_each"] == 3
    assert report["questions_with_ties"] == 2


def test_differences_are_question_by_question() -> None:
    found = {(d["of"], d["from"]): d["reward"]["value"] for d in report_of(whole())["differences"]}
    assert found == {("R1", "B"): 1, ("B", "R3"): 2, ("R1", "R3"): 3}
    without = report_of(ranked(ASKED, None, REWARDS[:, :3]))
    assert [(d["of"], d["from"]) for d in without["differences"]] == [("R1", "R3")]
    assert [row["group"] for row in without["groups"]] == ["R1", "R2", "R3"]


def test_the_curve_is_in_report_and_table() -> None:
    points = report_of(whole())["best_of_n"]
    assert [p["k"] for p in points] == [1, 2, 3]
    assert [p["gain"]["value"] for p in points] == pytest.approx([0, 1, 2])
    assert points[2]["kl_upper_bound"] == pytest.approx(np.log(3) - 2 / 3)
    shown = table(whole())
    assert "R1     2.000 (2.000 to 2.000)" in shown
    assert "R1 - B: 1.000 (0.000 to 2.000)" in shown
    assert f"{3:7}  {0.432:17.3f}  2.000 (2.000 to 2.000)" in shown


@pytest.mark.parametrize("n", [3, 40])
def test_the_picture_is_drawn(tmp_path: Path, n: int) -> None:
    from matplotlib.image import imread

    asked = candidates(*[[str(k) for k in range(n)]] * 5)
    rewards = np.random.default_rng(0).normal(size=(5, n))
    draw(ranked(asked, None, rewards), tmp_path / "best_of_n.png")
    picture = imread(tmp_path / "best_of_n.png")
    assert picture.shape[:2] == (420, 1000)
    assert picture[..., :3].std() > 0.05
