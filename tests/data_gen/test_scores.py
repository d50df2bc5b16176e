"""Scores by source are counted exactly as published, faults and all."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.scores import distribution, read_scores

from llama_gpt4.errors import InputError
from llama_gpt4.evaluate import main

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
real = pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
PUBLISHED = {  # n, mean, sd, median, share of 9, from 8, below 5 (per cent), zeros, halves
    "gpt4": (51445, 8.9366, 0.5029, 9, 89.5, 99.0, 0.33, 16, 22),
    "text-davinci-003": (51183, 8.7203, 0.9773, 9, 75.9, 95.9, 1.85, 49, 60),
    "icm-1.3b": (51428, 4.2301, 2.2580, 4, 6.1, 13.5, 70.7, 54, 9),
}


@real
def test_the_published_scores_are_counted_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scores.json"
    files = [f"files=[{REAL_DATA}/cmp_data_scores.json]", f"output={output}"]
    assert main(["metric=scores", *files]) == 0
    found = json.loads(output.read_text("utf-8"))["sources"]
    figures = json.loads((Path(REAL_DATA or "") / "paper_figures.json").read_text("utf-8"))
    assert found.keys() == PUBLISHED.keys()
    for source, (n, mean, sd, median, nines, good, bad, zeros, halves) in PUBLISHED.items():
        its = found[source]
        counts = {float(score): count for score, count in its["counts"].items()}
        assert counts == {
            float(score): count for score, count in figures["fig2_score_hist"][source].items()
        }
        assert (its["n"], its["median"]) == (n, median)
        assert (round(its["mean"], 4), round(its["sd"], 4)) == (mean, sd)
        assert its["low"] < its["mean"] < its["high"]
        assert round(100 * counts[9] / n, 1) == nines
        assert round(100 * its["share_from_8"], 1) == good
        assert 100 * its["share_below_5"] == pytest.approx(bad, abs=0.05)
        assert (its["out_of_range"], its["half_points"]) == (zeros, halves)
    assert sum(its["out_of_range"] for its in found.values()) == 119
    assert sum(its["half_points"] for its in found.values()) == 91
    assert [found[source]["mode"] for source in PUBLISHED] == [9, 9, 4]
    assert "154,056 scores" in capsys.readouterr().out


def test_out_of_the_scale_is_flagged_on_both_sides_and_kept() -> None:
    its = distribution([0, 1, 9.5, 10, 11, 10.5])
    assert (its["out_of_range"], its["half_points"], its["n"]) == (3, 2, 6)
    assert its["mean"] == pytest.approx(42 / 6)


def test_the_interval_is_that_of_the_mean() -> None:
    its = distribution([1, 2] * 200)
    error = 0.5 / 400**0.5
    assert its["low"] == pytest.approx(1.5 - 1.96 * error, abs=0.2 * error)
    assert its["high"] == pytest.approx(1.5 + 1.96 * error, abs=0.2 * error)
    assert distribution([9, 9])["low"] == distribution([9, 9])["high"] == 9


def test_scores_stay_with_their_sources_in_every_layout(tmp_path: Path) -> None:
    comparison: dict[str, Any] = {
        "user_input": "Q",
        "responses_and_scores": [
            {"response": "a", "source": "gpt4", "score": 9},
            {"response": "b", "score": 4.5},
        ],
    }
    (tmp_path / "v2.jsonl").write_text(f"{json.dumps(comparison)}\n{json.dumps(comparison)}\n")
    assert read_scores(str(tmp_path / "v2.jsonl")) == {"gpt4": [9, 9], "(no source)": [4.5, 4.5]}
    assert sum(map(len, read_scores("sample:comparisons_en").values())) > 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": [9, "8"]}', "score 1 of a is no number: '8'"),
        ('{"a": [9, NaN]}', "score 1 of a is no number: nan"),
        ('{"a": []}', "has no scores of a"),
        ('[{"prompt": "Q", "chosen": "a", "rejected": "b"}]', "has no scores, only which"),
        ("[]", "hold no comparison"),
    ],
)
def test_what_holds_no_scores_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_scores(str(tmp_path / "a.json"))


def test_a_missing_file_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metric=scores", "files=[nowhere.json]"]) == 2
    assert "nowhere.json does not exist" in capsys.readouterr().err
