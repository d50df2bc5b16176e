"""The published numbers, and what each section says of a result."""

import json
import os
from pathlib import Path

import pytest

from llama_gpt4.evaluation.report_sections import (
    SECTIONS,
    Section,
    benchmarks_section,
    published,
    rank_section,
    reward_section,
    rouge_section,
    scores_section,
    votes_section,
)

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
E = {"value": 0.5, "low": 0.25, "high": 0.75}


def rows_of(section: Section) -> list[str]:
    return [row[0] for row in section.rows[1:]]


def legend_of(section: Section) -> list[str]:
    assert section.figure is not None
    [legend] = section.figure.legends or [section.figure.axes[0].get_legend()]
    return [text.get_text() for text in legend.get_texts()]


def test_without_results_the_papers_figures_are_there() -> None:
    titles = [section.title for make in SECTIONS if (section := make({})).figure is not None]
    assert [title.split(":")[0] for title in titles] == [
        "Figure 1 (a, b)", "Figure 1 (c)", "Figure 1 (d)", "Figure 2", "Figure 3",
        "Figures 4 and 5", "Figure 6",
    ]  # fmt: skip


def test_a_result_that_is_not_there_is_said_to_be_missing() -> None:
    assert rank_section({}).figure is None and "No result" in rank_section({}).notes[0]
    assert "No report" in reward_section({}).notes[0]


def test_a_reward_model_has_its_rows_and_settings() -> None:
    row = {"name": "all", "pairs": 7, "accuracy": E, "length_only": E, "source_only": E}
    found = {"overall": row, "by": {}, "config": {"files": ["x.json"]}}
    one = reward_section({"reward": {"r.json": found}})
    assert one.rows[1] == ["all", "7", *["0.500 (0.250 to 0.750)"] * 3]
    assert "x.json" in one.settings["r.json"]
    two = reward_section({"reward": {"a/r.json": found, "b/r.json": found}})
    assert rows_of(two) == ["all (a/r.json)", "all (b/r.json)"]


def test_scores_of_the_harness_have_their_rows() -> None:
    kind = {"metric": "acc", "filter": "none"}
    scores = [
        kind | {"task": "arc", "value": 0.5, "stderr": 0.125, "shots": 5, "questions": 16},
        kind | {"task": "all", "value": 0.25, "stderr": None, "shots": None, "questions": None},
    ]
    found = benchmarks_section({"lm_eval": {"a.json": {"model": "tuned", "scores": scores}}})
    assert found.rows[1:] == [
        ["tuned", "arc", "acc", "none", "5", "16", "0.5000", "0.1250"],
        ["tuned", "all", "acc", "none", "", "", "0.2500", ""],
    ]
    assert "No result" in benchmarks_section({}).notes[0]


def test_equal_names_of_two_files_are_both_shown() -> None:
    scores = {"sources": {"gpt4": {"counts": {"9": 1}}}}
    found = scores_section({"scores": {"a/s.json": scores, "b/s.json": scores}})
    assert legend_of(found)[-2:] == ["gpt4 (a/s.json)", "gpt4 (b/s.json)"]
    bar = {"mean": 0.3, "low": 0.2, "high": 0.4}
    rouge = {
        "buckets": [{"name": "0-2", "means": {"tuned": {"rougeL": bar}}}],
        "tokenizer": "characters",
        "length_unit": "words",
    }
    found = rouge_section({"rouge": {"a/r.json": rouge, "b/r.json": rouge}})
    assert "b/r.json: tokens are characters. Lengths are words." in found.notes
    assert legend_of(found)[-2:] == ["tuned (a/r.json)", "tuned (b/r.json)"]
    rank = {
        "groups": [{"group": "R1", "over_mean_answer": E}],
        "best_of_n": [{"k": k, "kl_upper_bound": k / 2, "gain": E} for k in (1, 2)],
    }
    found = rank_section({"rank": {"a/r.json": rank, "b/r.json": rank}})
    assert legend_of(found) == ["a/r.json", "b/r.json"]
    assert rows_of(found) == ["R1 (a/r.json)", "R1 (b/r.json)"]


def test_texts_have_their_sunburst_and_their_lengths() -> None:
    ours = {
        "pairs": {"sunburst": {"写": {"信": 12}}, "counts": [["写", "信", 12]], "unique": 1},
        "lengths": {
            "bins": {"n": 2, "from": 0, "to": 10, "counts": [4, 1]},
            "percentiles": {"p50": 3},
        },
    }
    empty = {"pairs": {"sunburst": {}, "counts": [], "unique": 0}}
    results = {"texts": {"t.json": {"sets": {"zh": ours, "none": empty, "asked": {}}}}}
    rings, bars, lengths = (make(results) for make in SECTIONS[:3])
    for section in (rings, bars):
        assert section.figure is not None
        assert section.figure.axes[-1].get_title() in ("zh", "none")
    assert rings.figure is not None and rings.figure.axes[2].get_title() == "zh"
    assert rows_of(bars)[-2:] == ["zh", "none"] and rows_of(lengths)[-1] == "zh"
    assert lengths.rows[-1][3] == "3"


def test_the_papers_votes_have_their_sign_tests() -> None:
    first = votes_section({}).rows[1]
    assert first[:4] == ["LLaMA-GPT4 : Alpaca (paper)", "helpfulness", "704", "54.1 %"]
    assert f"{float(first[6]):.0e}" == "5e-27"


@pytest.mark.skipif(not REAL_DATA, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_the_published_numbers_are_those_of_the_figures() -> None:
    theirs = json.loads((Path(REAL_DATA or "") / "paper_figures.json").read_text())
    ours = published()
    for name, key in (("GPT-4", "gpt4"), ("GPT-3", "gpt3")):
        told = [
            [*each[0].split(), each[1]] if len(each) == 2 else list(each)
            for each in theirs["fig1c_top25"][key]
        ]
        assert ours["top_pairs"][name]["pairs"] == told
        assert ours["length_bins"][name]["counts"] == theirs["fig1d_length_hist"][key]
    assert ours["sunburst"] == {"GPT-4": theirs["fig1a_sunburst_gpt4"]}
    for source, counts in theirs["fig2_score_hist"].items():
        assert ours["scores"][source] == {f"{float(k):g}": n for k, n in counts.items()}
    sums = {**theirs["fig4"], **theirs["fig5"]}
    keys = [key for key in sums if key != "in_notebook_not_plotted"]
    for (title, models), key in zip(ours["relative_scores"].items(), keys, strict=True):
        for found, told in zip(models.values(), sums[key].values(), strict=True):
            like_for_like = title.startswith("5c") and found == [526.5, 702]
            assert found == told or like_for_like, (title, found, told)
    for name, key in (("Alpaca", "Alpaca"), ("LLaMA-GPT4", "Alpaca-GPT4"), ("GPT-4", "GPT4")):
        for bucket, value in ours["rouge_l"][name].items():
            told = theirs["fig6_rouge"][key][bucket].values()
            assert any(isinstance(v, float) and abs(v - value) < 1e-5 for v in told), (name, bucket)
