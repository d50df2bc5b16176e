"""The picture of a report shows its numbers."""

from pathlib import Path

import numpy as np
import pytest
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_plot import draw, figure_of
from llama_gpt4_data.reward_report import Report, report
from matplotlib.image import imread

from .reward_runs import bench, many, reward_config, write


def of(folder: Path, records: list[dict[str, object]]) -> Report:
    data = prepare(reward_config(folder, f"data.files=[{write(folder, records)}]")).train
    random = np.random.default_rng(0)
    return report(data, [random.normal(size=len(data.scores_of(i))) for i in range(data.n)], None)


@pytest.mark.parametrize("by, records", [("margin", many(12)), ("sources", bench({"mine": 3}))])
def test_points_are_those_of_the_report(
    tmp_path: Path, by: str, records: list[dict[str, object]]
) -> None:
    found = of(tmp_path, records)
    left, right = figure_of(found).axes
    points = left.containers[0].lines[0].get_xydata()
    assert points.tolist() == [[b.probability, b.better.value] for b in found.calibration.bins]
    shown = [c.lines[0].get_ydata().tolist() for c in right.containers]
    rows = [found.overall, *found.by[by]]
    assert shown[0] == [row.accuracy.value for row in rows]
    assert shown[1] == [row.length_only.value for row in rows]
    assert right.get_title().startswith(f"Accuracy by {by}")
    draw(tmp_path / "report.png", found)
    assert imread(tmp_path / "report.png").std() > 0.05, "something is drawn"


def test_sources_with_chinese_names_are_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = [record | {"rejected_model": "文心 $1 $2"} for record in bench({"mine": 3})]
    draw(tmp_path / "report.png", of(tmp_path, records))
    assert not caplog.messages, "matplotlib tells of characters that its fonts lack"
