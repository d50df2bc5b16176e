"""`data compare` on files: three layouts of the same pairs, and counts that add up."""

import json
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data import cli
from llama_gpt4_data.comparisons import read_comparisons

from llama_gpt4.prompt import render_prompt


def prompt(instruction: str, **scores: float | str) -> dict[str, Any]:
    """A prompt of v2; a source's score, or its empty answer."""
    return {
        "user_input": render_prompt(instruction, ""),
        "responses_and_scores": [
            {
                "response": "" if score == "empty" else f"{source} on {instruction}",
                "source": source,
                "score": 5.0 if score == "empty" else score,
            }
            for source, score in scores.items()
        ],
    }


RATED = [
    prompt("Two?", gpt4=9, davinci=9, icm=4),
    prompt("Three?", gpt4=8, davinci=9.5, icm=0),
    prompt("None?", gpt4=9, davinci=9, icm="empty"),
    prompt("Alone?", gpt4=9),
]


@pytest.fixture
def compare(tmp_path: Path) -> Any:
    def run(records: list[dict[str, Any]], *more: str) -> tuple[int, Path]:
        file, out = tmp_path / "rated.json", tmp_path / "out"
        file.write_text(json.dumps(records))
        return cli.main(["compare", f"files=[{file}]", f"output_dir={out}", *more]), out

    return run


def test_pairs_in_three_layouts(compare: Any) -> None:
    code, out = compare(RATED)
    assert code == 0
    v1 = json.loads((out / "v1.json").read_text())
    assert len(v1) == 5
    assert v1[2] == {
        "user_input": render_prompt("Three?", ""),
        "completion_a": "davinci on Three?",
        "completion_b": "gpt4 on Three?",
    }
    v2 = json.loads((out / "v2.json").read_text())
    assert v2 == [{**r, "responses_and_scores": r["responses_and_scores"]} for r in RATED[:2]]
    lines = [json.loads(line) for line in (out / "preferences.jsonl").read_text().splitlines()]
    assert lines[2] == {
        "prompt": [{"role": "user", "content": "Three?"}],
        "chosen": [{"role": "assistant", "content": "davinci on Three?"}],
        "rejected": [{"role": "assistant", "content": "gpt4 on Three?"}],
        "score_chosen": 9.5,
        "score_rejected": 8.0,
        "margin": 1.5,
        "chosen_source": "davinci",
        "rejected_source": "gpt4",
        "derived_from": {"id": None, "file": str(out.parent / "rated.json"), "index": 1},
        "licence": None,
    }


def test_what_became_of_everything(compare: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = compare(RATED)
    report = json.loads((out / "report.json").read_text())
    assert (report["prompts"], report["with_pairs"], report["without_pairs"]) == (4, 2, 2)
    assert report["responses"] == {"used": 9, "empty": 1, "out_of_range": 0}
    assert report["scores_out_of_range"] == 1
    assert (report["candidates"], report["pairs"], report["ties"]) == (7, 5, 2)
    assert report["by_sources"][0] == {
        "sources": ["davinci", "gpt4"],
        "first_wins": 1,
        "second_wins": 0,
        "ties": 2,
        "mean_margin": 1.5,
    }
    shown = capsys.readouterr().out.splitlines()
    assert "7 candidates: 5 pairs, 2 ties, 0 of the same text" in shown
    assert "davinci 1 : 0 gpt4, 2 ties, by 1.50 points" in shown


def test_the_licence_of_the_ratings_goes_with_the_pairs(compare: Any) -> None:
    rated = [{**record, "provenance": {"licence": "cc-by-nc-4.0"}} for record in RATED]
    _, out = compare(rated)
    lines = (out / "preferences.jsonl").read_text().splitlines()
    assert {json.loads(line)["licence"] for line in lines} == {"cc-by-nc-4.0"}
    assert json.loads((out / "report.json").read_text())["licences"] == ["cc-by-nc-4.0"]


def test_ties_can_stay_in_the_file_of_scores(compare: Any) -> None:
    _, out = compare(RATED, "ties=keep")
    v2 = json.loads((out / "v2.json").read_text())
    assert [len(record["responses_and_scores"]) for record in v2] == [3, 3, 2]
    assert len(json.loads((out / "v1.json").read_text())) == 5


@pytest.mark.parametrize("name", ["v1.json", "v2.json", "preferences.jsonl"])
def test_what_is_written_is_read_back(compare: Any, name: str) -> None:
    _, out = compare(RATED)
    again = read_comparisons([str(out / name)])
    assert all("### Instruction" not in str(c.turns) for c in again)
    assert {c.turns[0]["content"] for c in again} == {"Two?", "Three?"}
    assert len(again) == (2 if name == "v2.json" else 5)


def test_nothing_but_ties_is_bad_input(compare: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = compare([prompt("None?", gpt4=9, davinci=9)])
    assert code == 2 and not out.exists()
    [line] = capsys.readouterr().err.splitlines()
    assert "no answer is better than another" in line and "1 ties" in line


def test_policies_are_checked(compare: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(RATED, "ties=drp")[0] == 2
    assert "ties=drp is not one of keep, drop" in capsys.readouterr().err
    code, out = compare(RATED, "out_of_range=drop")
    assert code == 0 and json.loads((out / "report.json").read_text())["pairs"] == 3


def test_it_does_not_overwrite_what_it_reads(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "v2.json"
    file.write_text(json.dumps(RATED))
    before = file.read_bytes()
    assert cli.main(["compare", f"files=[{file}]", f"output_dir={tmp_path}"]) == 2
    assert f"output_dir={tmp_path} is where {file} is" in capsys.readouterr().err
    assert file.read_bytes() == before
