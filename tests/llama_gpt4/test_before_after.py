"""Answers and perplexity at both ends of a run, from the files that it leaves. That these are what
the model says: tests/distributed/test_resume.py and tests/e2e/test_main_job.py."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.before_after import SHOWN_CHARACTERS, compare, perplexity_of, shown
from llama_gpt4.samples import Sample, store_samples
from llama_gpt4.summary import Summary, Table


def answered(run_dir: Path, step: int, *answers: tuple[str, str, str]) -> None:
    """Questions, each with its answer and why that ended."""
    samples = [Sample(f"id of {q}", q, answer, why, None) for q, answer, why in answers]
    store_samples(run_dir, step, samples)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of 9 steps that was asked two questions; no records were held out."""
    (tmp_path / "metrics.jsonl").write_text('{"step": 9, "loss": 1.0}\n')
    answered(tmp_path, 0, ("Why?", "x x", "length"), ("How?\nSay.", "y", "stop"))
    answered(tmp_path, 4, ("Why?", "no", "stop"), ("How?\nSay.", "no", "stop"))
    answered(tmp_path, 9, ("Why?", "Because.", "stop"), ("How?\nSay.", "So.\nAnd so.", "stop"))
    return tmp_path


def hold_out(run_dir: Path, *losses: tuple[int, float]) -> None:
    (run_dir / "data.json").write_text('{"validation": {"used": 1200}}')
    with open(run_dir / "metrics.jsonl", "a") as file:
        for step, loss in losses:
            file.write(json.dumps({"step": step, "eval_loss": loss}) + "\n")


def kept(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "before_after.json").read_text())


def test_both_ends_are_stored_shown_and_tracked(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_out(run_dir, (0, math.log(812.34)), (4, 5.0), (9, math.log(3.125)))
    summary = compare(run_dir, 9)
    assert capsys.readouterr().out.splitlines() == [
        "before and after 9 steps:",
        "  Why?",
        "    before  x x …",
        "    after   Because.",
        "  How? Say.",
        "    before  y",
        "    after   So. And so.",
        "perplexity on 1,200 held-out records: 812.3 before, 3.125 after",
    ]
    rows = [["Why?", "x x", "Because."], ["How?\nSay.", "y", "So.\nAnd so."]]
    before, after = (pytest.approx(value) for value in (812.34, 3.125))
    assert summary == Summary(
        {"perplexity/before": before, "perplexity/after": after},
        {"before_after": Table(["question", "before", "after"], rows)},
        {},
    )
    assert kept(run_dir) == {
        "steps": 9,
        "perplexity": {"records": 1200, "before": before, "after": after},
        "answers": [
            {
                "question_id": "id of Why?",
                "question": "Why?",
                "before": "x x",
                "after": "Because.",
                "before_finish_reason": "length",
                "after_finish_reason": "stop",
            },
            {
                "question_id": "id of How?\nSay.",
                "question": "How?\nSay.",
                "before": "y",
                "after": "So.\nAnd so.",
                "before_finish_reason": "stop",
                "after_finish_reason": "stop",
            },
        ],
    }


def test_without_held_out_records_a_line_says_so(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = compare(run_dir, 9)
    assert capsys.readouterr().out.endswith(
        "    after   So. And so.\nno perplexity: data.validation holds out no records\n"
    )
    assert not summary.scalars and kept(run_dir)["perplexity"] is None


def test_the_terminal_gets_the_first_ones_and_the_file_all(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [(f"question {i}", "word " * 100, "stop") for i in range(7)]
    answered(run_dir, 0, *many)
    answered(run_dir, 9, *many)
    compare(run_dir, 9)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "question" in line] == [f"  question {i}" for i in range(4)]
    assert "  and 3 more in before_after.json" in lines
    assert max(map(len, lines)) <= len("    before  ") + SHOWN_CHARACTERS + len(" …")
    assert [answer["after"] for answer in kept(run_dir)["answers"]] == ["word " * 100] * 7


def test_only_what_was_asked_at_both_ends_is_compared(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A resumed run may have other questions, or an old one with other words."""
    answered(run_dir, 9, ("How?\nSay.", "So.", "stop"), ("New?", "Yes.", "stop"))
    compare(run_dir, 9)
    assert [answer["question"] for answer in kept(run_dir)["answers"]] == ["How?\nSay."]
    answered(run_dir, 9, ("New?", "Yes.", "stop"))
    assert not compare(run_dir, 9).tables
    assert "nothing was asked both before the first step and after" in capsys.readouterr().out


def test_a_line_that_a_kill_has_cut_is_passed_over(run_dir: Path) -> None:
    hold_out(run_dir, (0, 2.0), (9, 1.0))
    with open(run_dir / "metrics.jsonl", "a") as file:
        file.write('{"step": 9, "eval_loss": 0.')
    assert compare(run_dir, 9).scalars["perplexity/after"] == pytest.approx(math.e)


def test_a_perplexity_that_is_no_number_is_said_and_left_out(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [perplexity_of(loss) for loss in (1e4, math.inf, math.nan)] == [None] * 3
    assert perplexity_of(0.0) == 1.0
    hold_out(run_dir, (0, 1e4), (9, 0.0))
    assert compare(run_dir, 9).scalars == {"perplexity/after": 1.0}
    assert "held-out records: no finite number before, 1 after" in capsys.readouterr().out


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    assert shown("a\x1b[2Jb\u202ec\r\nd") == "a\ufffd[2Jb\ufffdc d"
    assert shown("巴黎") == "巴黎"
    assert shown("x" * 200) == "x" * SHOWN_CHARACTERS + " …"
    assert shown("x", is_cut=True) == "x …"
