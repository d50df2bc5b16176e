"""The numbers of a pair: by hand, as published with Vicuna, and as printed in the paper."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_gpt4_data.judge_answers import read_categories
from llama_gpt4_data.judge_models import rank_correlation
from llama_gpt4_data.judge_pairs import (
    first_place_gain,
    pair_scores,
    printed,
    relative,
    relative_score,
    share,
)
from llama_gpt4_data.judge_records import Known, read_judgements

from .judging import judgement

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
real_data = pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")

PUBLISHED = {
    "vicuna-13b_20230322-clean-lang__review_bard_vicuna-13b": (664, 655.5, 30, 40, 10),
    "vicuna-13b_20230322-clean-lang__review_gpt35_vicuna-13b": (693, 638, 44, 14, 22),
    "others__review_llama_alpaca-13b": (525, 605, 19, 60, 1),
    "vicuna-13b_20230322-new-hp-fp16__review_alpaca-13b_vicuna-13b_20230322-new-hp-fp16": (
        576, 696.5, None, None, None
    ),
    "vicuna-13b_20230322-new-hp-fp16__review_bard_vicuna-13b_20230322-new-hp-fp16": (
        661.5, 662, None, None, None
    ),
    "vicuna-13b_20230322-new-hp-fp16__review_llama_vicuna-13b_20230322-new-hp-fp16": (
        523, 695, None, None, None
    ),
    "vicuna-7b_20230322-fp16__review_alpaca-13b_vicuna-7b": (583, 684.5, None, None, None),
    "vicuna-7b_20230322-fp16__review_gpt35_vicuna-7b": (688, 604, None, None, None),
}  # fmt: skip
"""Points of both, and who was better, of FastChat's files. Not among the real data: alpaca-13b and
llama-13b against vicuna-13b, gpt35 against vicuna-13b new-hp-fp16, bard and llama-13b against
vicuna-7b."""

FIGURE_4: dict[str, dict[str, Any]] = {
    "a_ranks_vs_chatgpt": {
        "R1": 93.553, "R2": 91.642, "R3": 91.416, "R4": 89.238, "R5": 89.299, "B": 91.373,
    },
    "b_ranks_vs_gpt4": {
        "R1": 87.336, "R2": 85.219, "R3": 84.945, "R4": 82.920, "R5": 83.333, "B": 83.414,
    },
    "c_vs_chatgpt": {
        "LLaMA-13B": (71.87, "72"), "Alpaca-13B": (83.04, "83"), "Vicuna-13B": (99.46, "99"),
        "LLaMA_GPT4-7B": (91.37, "91"), "LLaMA_GPT4-7B-R1": (93.55, "94"), "Bard": (96.06, "96"),
        "ChatGPT": (100.0, "100"), "GPT4": (117.66, "118"),
    },
    "d_vs_gpt4": {
        "LLaMA-13B": (71.09, "71"), "Alpaca-13B": (79.54, "80"), "Vicuna-13B": (89.45, "89"),
        "LLaMA_GPT4-7B": (83.41, "83"), "LLaMA_GPT4-7B-R1": (87.34, "87"), "Bard": (87.67, "88"),
        "ChatGPT": (91.32, "91"), "GPT4": (100.0, "100"),
    },
}  # fmt: skip
FIGURE_5 = {
    "a_vs_translated_gpt4": [66.86, 75.70, 92.95, 86.71, 89.47, 91.63, 95.33, 100.0],
    "b_vs_generated_gpt4": [71.53, 78.49, 97.19, 90.23, 93.60, 94.69, 96.91, 108.62],
    "c_chinese_in_chinese_out_vs_translated_gpt4": [32.96, 35.77, 78.87, 34.99, 64.12, 92.06],
}


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    assert REAL_DATA is not None
    figures: dict[str, Any] = json.loads((Path(REAL_DATA) / "paper_figures.json").read_text())
    return figures


def percent(sums: list[float]) -> float:
    return 100 * relative_score(*sums)


def test_both_orders_count_alike_and_repeats_by_their_median() -> None:
    [scores] = pair_scores(
        [
            judgement("1", "ab", (9, 5)),
            judgement("1", "ab", (7, 6), repeat=1),
            judgement("1", "ab", (8, 1), repeat=2),
            judgement("1", "ba", (7, 6)),
            judgement("2", "ab", (4, 4)),
            judgement("2", "ba", (6, 4)),
        ]
    )
    assert scores.by_order.tolist() == [[[8, 5], [4, 4]], [[6, 7], [4, 6]]]
    assert scores.points.tolist() == [[7, 6], [4, 5]]
    assert scores.outcomes.tolist() == [1, -1]
    assert scores.preferences.tolist() == [0.5, 0.25]
    assert scores.conflicts is not None and scores.conflicts.tolist() == [True, True]
    found = relative(scores.points)
    assert found is not None and found.value == 1 and found.low == 4 / 5 and found.high == 7 / 6


def test_a_question_without_a_score_in_one_order_is_left_out_for_both() -> None:
    [scores] = pair_scores(
        [
            judgement("1", "ab", (9, 5)),
            judgement("1", "ba", None),
            judgement("2", "ab", (8, 4)),
            judgement("2", "ba", (6, 8)),
            judgement("3", "ab", (1, 1)),
        ]
    )
    assert scores.ids == ["2"] and scores.missing == ["1", "3"]
    assert scores.points.tolist() == [[8, 5]]


def test_a_repeat_without_a_score_leaves_the_others() -> None:
    [scores] = pair_scores(
        [judgement("1", "ab", None), judgement("1", "ab", (8, 4), repeat=1)]
        + [judgement("1", "ba", (4, 8), repeat=repeat) for repeat in (0, 1)]
    )
    assert scores.missing == [] and scores.points.tolist() == [[8, 4]]


def test_one_order_has_no_conflicts_to_tell() -> None:
    [scores] = pair_scores([judgement("1", "ab", (9, 5), models=("a", "b"))])
    assert scores.conflicts is None and first_place_gain(scores) is None
    assert share(scores.conflicts) is None


def test_turned_and_by_category_it_is_the_same_judgement() -> None:
    [scores] = pair_scores(
        [
            judgement("1", "ab", (9, 5), category="math", lengths=(10, 20)),
            judgement("1", "ba", (4, 9), category="math", lengths=(20, 10)),
            judgement("2", "ab", (3, 5), lengths=(1, 2)),
            judgement("2", "ba", (6, 2), lengths=(2, 1)),
        ]
    )
    turned = scores.turned()
    assert turned.models == ("b", "a") and turned.orders == [("b", "a"), ("a", "b")]
    assert turned.points.tolist() == scores.points[:, ::-1].tolist()
    assert turned.lengths is not None and turned.lengths.tolist() == [[20, 10], [2, 1]]
    assert first_place_gain(turned) == first_place_gain(scores)
    math = scores.in_category("math")
    assert math.ids == ["1"] and math.points.tolist() == [[9, 4.5]]


def test_no_question_has_no_numbers() -> None:
    [scores] = pair_scores([judgement("1", "ab", None), judgement("1", "ba", (4, 9))])
    assert scores.by_order.shape == (2, 0, 2)
    assert relative(scores.points) is None and share(scores.preferences) is None
    assert relative(np.array([[3.0, 0.0]])) is None, "nothing to compare with"


def test_halves_are_printed_as_the_figures_have_them() -> None:
    assert [printed(n) for n in (666.5, 667.5, 91.373)] == ["666", "668", "91"]


@real_data
def test_published_reviews_give_the_published_totals() -> None:
    assert REAL_DATA is not None
    folder = Path(REAL_DATA)
    known = Known(read_categories(str(folder / "vicuna_question_80.jsonl")), {})
    for name, (first, second, wins, losses, ties) in PUBLISHED.items():
        file = folder / "vicuna" / "reviews" / f"{name}.jsonl"
        [scores] = pair_scores(read_judgements([str(file)], known))
        assert (len(scores.ids), scores.missing) == (80, []), name
        assert scores.points.sum(0).tolist() == [first, second], name
        counts = [int((scores.outcomes == outcome).sum()) for outcome in (1, -1, 0)]
        assert wins is None or counts == [wins, losses, ties], name
        found = relative(scores.points)
        assert found is not None and found.value == first / second
        # The standard error of such a ratio is 1.3 to 3.2 points, a quarter of the interval.
        assert 0.0125 < (found.high - found.low) / 3.92 < 0.0335, name


@real_data
def test_figure_4_a_and_b(figures: dict[str, Any]) -> None:
    for panel in ("a_ranks_vs_chatgpt", "b_ranks_vs_gpt4"):
        found = {group: percent(sums) for group, sums in figures["fig4"][panel].items()}
        assert found == pytest.approx(FIGURE_4[panel], abs=5e-4)
        groups = np.array([[found[f"R{k}"] for k in range(1, 6)]])
        assert rank_correlation(groups)[0] == pytest.approx(0.9)
    means = [
        np.mean([percent(sums) for group, sums in figures["fig4"][panel].items() if group != "B"])
        for panel in ("a_ranks_vs_chatgpt", "b_ranks_vs_gpt4")
    ]
    assert means == pytest.approx([91.03, 84.75], abs=5e-3)


@real_data
@pytest.mark.parametrize("panel", ["c_vs_chatgpt", "d_vs_gpt4"])
def test_figure_4_c_and_d(figures: dict[str, Any], panel: str) -> None:
    sums = figures["fig4"][panel]
    assert sums.keys() == FIGURE_4[panel].keys() and len(sums) == 8
    for model, (exact, shown) in FIGURE_4[panel].items():
        assert percent(sums[model]) == pytest.approx(exact, abs=5e-3), model
        assert printed(percent(sums[model])) == shown, model
    # The bar of GPT-4 against ChatGPT covers fewer questions than that of 4 (d).
    assert sum(figures["fig4"]["c_vs_chatgpt"]["GPT4"]) == 1134
    assert sum(figures["fig4"]["d_vs_gpt4"]["ChatGPT"]) == 1366


@real_data
@pytest.mark.parametrize("panel", FIGURE_5)
def test_figure_5(figures: dict[str, Any], panel: str) -> None:
    found = [percent(sums) for sums in figures["fig5"][panel].values()]
    assert found == pytest.approx(FIGURE_5[panel], abs=5e-3)


@real_data
def test_figure_5_c_has_one_bar_with_another_opponent(figures: dict[str, Any]) -> None:
    """Vicuna's bar is against GPT-4's generated answers, all others are against translated ones."""
    plotted = figures["fig5"]["c_chinese_in_chinese_out_vs_translated_gpt4"]
    [name] = [model for model in plotted if model.startswith("Vicuna")]
    alike = figures["fig5"]["in_notebook_not_plotted"]["Vicuna-13B vs translated"]
    assert "GENERATED" in name
    assert (percent(plotted[name]), percent(alike)) == pytest.approx((78.87, 75.0), abs=5e-3)
