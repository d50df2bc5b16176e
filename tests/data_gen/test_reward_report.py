"""What a report counts: by sources, margin, language, subset and section."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_gpt4_data.reward_bench import SECTIONS
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import Compared
from llama_gpt4_data.reward_report import Report, margin_names, report

from .reward_runs import bench, many, reward_config, scored, write


def compared(folder: Path, records: list[dict[str, Any]]) -> Compared:
    return prepare(reward_config(folder, f"data.files=[{write(folder, records)}]")).train


def random_report(data: Compared, train: Compared | None = None) -> Report:
    random = np.random.default_rng(0)
    return report(data, [random.normal(size=len(data.scores_of(i))) for i in range(data.n)], train)


def test_groups_hold_all_pairs_once(tmp_path: Path) -> None:
    data = compared(tmp_path, many(20))
    found = random_report(data, data)
    pairs, accuracy = found.overall.pairs, found.overall.accuracy
    assert pairs == len(data.pairs) and found.prompts == data.n and found.unscored_pairs == 0
    for rows in found.by.values():
        assert sum(row.pairs for row in rows) == pairs
        mean = sum(row.accuracy.value * row.pairs for row in rows) / pairs
        assert mean == pytest.approx(accuracy.value)
    assert accuracy.low < accuracy.value < accuracy.high
    above = found.above_length_only.value
    assert above == pytest.approx(accuracy.value - found.overall.length_only.value)
    assert set(found.by) == {"sources", "margin"} and found.rules_from == "the training data"


def test_margins_are_in_bins_whose_upper_edge_is_within(tmp_path: Path) -> None:
    margins = (0.5, 1, 1.5, 2, 4, 4.5, 9)
    data = compared(tmp_path, [scored(f"{m}?", ("yes", 10), ("no", 10 - m)) for m in margins])
    rows = random_report(data).by["margin"]
    counts = {"up to 1": 2, "1 to 2": 2, "2 to 4": 1, "4 to 6": 1, "above 6": 1}
    assert {row.name: row.pairs for row in rows} == counts and list(counts) == margin_names()


def test_languages_are_apart_where_there_are_two(tmp_path: Path) -> None:
    asked = ("What is the colour of the sky?", "天空是什么颜色的?", "Who are you, and why?")
    data = compared(tmp_path, [scored(text, ("yes", 9), ("no", 1)) for text in asked])
    assert [(r.name, r.pairs) for r in random_report(data).by["language"]] == [("en", 2), ("zh", 1)]


def test_a_benchmark_has_subsets_sections_and_a_score(tmp_path: Path) -> None:
    counts = {subset: 1 for subsets in SECTIONS.values() for subset in subsets}
    counts |= {"math-prm": 2, "mine": 5}
    data = compared(tmp_path, bench(counts))
    # Right about mathematics and about nothing else.
    rewards = [np.array([float(data.subset_of(i) == "math-prm"), 0.5]) for i in range(data.n)]
    found = report(data, rewards, None)
    assert {row.name: row.pairs for row in found.by["subset"]} == counts
    section = {row.name: row.accuracy.value for row in found.by["section"]}
    assert section == {"Chat": 0, "Chat Hard": 0, "Safety": 0, "Reasoning": pytest.approx(0.5)}
    assert list(section) == list(SECTIONS) and found.benchmark_score
    assert found.benchmark_score.value == pytest.approx(0.125)
    assert found.benchmark_score.low < 0.125 < found.benchmark_score.high < 0.25
    assert (
        found.unscored_pairs == sum(counts.values())
        and found.spearman is None
        and "margin" not in found.by
    )
    assert found.overall.source_only.value == 1, "gpt4 wins over alpaca everywhere"


def test_a_part_of_a_benchmark_has_no_score(tmp_path: Path) -> None:
    parts = {subsets[0]: 2 for subsets in SECTIONS.values()}
    found = random_report(compared(tmp_path, bench(parts)))
    assert found.benchmark_score is None and [r.name for r in found.by["section"]] == [*SECTIONS]
