"""Terminal, JSON and tracker say the same of one report."""

import json
from pathlib import Path

import numpy as np
import pytest
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_report import Report, report
from llama_gpt4_data.reward_table import as_json, publish, summary, table

from .reward_runs import bench, many, reward_config, write


@pytest.fixture
def found(tmp_path: Path) -> Report:
    return of(tmp_path, many(12))


def of(folder: Path, records: list[dict[str, object]]) -> Report:
    data = prepare(reward_config(folder, f"data.files=[{write(folder, records)}]")).train
    random = np.random.default_rng(0)
    return report(data, [random.normal(size=len(data.scores_of(i))) for i in range(data.n)], None)


def test_what_is_printed_is_what_is_written(
    found: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = publish(tmp_path, "held-out prompts", found, {"model": "m"})
    shown = capsys.readouterr().out
    kept = json.loads((tmp_path / "reward_report.json").read_text())
    assert kept["config"] == {"model": "m"}
    assert kept["prompts"] == 12 and kept["rules_from"] == "the other prompts"
    accuracy = kept["overall"]["accuracy"]
    assert f"{accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f})" in shown
    assert shown.startswith("12 held-out prompts, ") and "fitted on the other prompts" in shown
    assert said.scalars["reward/accuracy_low"] == accuracy["low"]
    assert said.pictures == {"reward/report": "reward_report.png"}
    assert (tmp_path / "reward_report.png").exists()


def test_every_row_is_in_table_and_summary(found: Report) -> None:
    rows = [found.overall, *(row for group in found.by.values() for row in group)]
    lines = [line.split() for line in table("prompts", found).splitlines()]
    for row in rows[1:]:
        assert [*row.name.split(), str(row.prompts), str(row.pairs)] in [
            line[: len(row.name.split()) + 2] for line in lines
        ]
    shown = summary(found).tables["reward/table"]
    assert [line[1:4] for line in shown.rows] == [[r.name, r.prompts, r.pairs] for r in rows]
    assert all(len(line) == len(shown.columns) for line in shown.rows)


def test_without_scores_it_says_so(tmp_path: Path) -> None:
    found = of(tmp_path, bench({"hep-go": 3, "mine": 1}))
    shown = table("prompts", found)
    assert "4 pairs have no scores, and so no margin" in shown
    assert "Spearman with the scores: there are none" in shown
    assert "by subset" in shown and "by section of RewardBench" in shown and "points" not in shown
    assert as_json(found)["spearman"] is None
    assert "reward/spearman_pooled" not in summary(found).scalars


def test_of_many_rows_the_largest_are_printed(tmp_path: Path) -> None:
    subsets = {f"part-{n}": 1 + (n == 29) for n in range(30)}
    found = of(tmp_path, bench(subsets))
    shown = table("prompts", found)
    assert "5 more with fewer pairs are in reward_report.json" in shown
    assert shown.index("part-29") < shown.index("part-0 ") and "part-9 " not in shown
    assert len(as_json(found)["by"]["subset"]) == 30
