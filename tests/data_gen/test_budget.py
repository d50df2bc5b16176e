"""`run.budget_usd` against a server that counts tokens in a way of its own: never passed, by any
number of workers, over any number of starts; and no key in any log."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from llama_gpt4_data.ledger import Price

from ..command import CLI, ENVIRONMENT
from .answering import KEY, Answering, instructions
from .teacher import Stats, Teacher

GPT_4 = Price(input_usd=30, output_usd=60)
MOST_USD = 0.034
"""What one question may cost: 512 tokens of answer and a short prompt."""


def charged(stats: Stats) -> float:
    return GPT_4.of(stats.prompt_tokens, stats.completion_tokens)


def test_start_after_start_with_more_money_pays_nothing_twice(answering: Answering) -> None:
    answering.teacher.behaves(latency_seconds=0.005, faults={"429": 0.1})
    # Answers as long as they may be: an estimate below the worst case would pass the budget.
    records = instructions(30, " [[tokens:512]]")
    done = 0
    for budget_usd in (0.3, 9.0):
        run = answering(records, "run.workers=2", f"run.budget_usd={budget_usd}")
        stats = answering.teacher.stats()
        assert charged(stats) <= budget_usd
        assert stats.paid_twice == 0
        assert run.report["spent_usd"] == pytest.approx(charged(stats))
        assert run.report["records"] >= done
        done = run.report["records"]
        if done < 30:
            assert run.code == 2
            assert f"run.budget_usd={budget_usd} does not last for the {30 - done} items" in (
                run.complaint
            )
            assert charged(stats) > budget_usd - MOST_USD, "it could have paid for one more"
    assert done == 30 and run.code == 0


def test_what_one_worker_leaves_over_the_other_may_spend(answering: Answering) -> None:
    # Every second question, all of one worker's share, has a long answer.
    records = [
        {"instruction": f"Question {n}?{' [[tokens:500]]' if n % 2 else ''}"} for n in range(20)
    ]
    run = answering(records, "run.workers=2", "run.budget_usd=0.45")
    assert run.code == 0 and run.report["records"] == 20
    assert 0.32 < charged(answering.teacher.stats()) <= 0.45


def test_losses_of_an_earlier_start_count(answering: Answering) -> None:
    answering.teacher.behaves(faults={"half": 0.6})
    records = instructions(30)
    line = ["run.budget_usd=0.3", "teacher.attempts=1"]
    first = answering(records, *line)
    assert first.code == 2 and first.report["lost_usd_at_most"] > 0.1
    answering.teacher.behaves()
    again = answering(records, *line)
    assert again.code == 2
    assert answering.teacher.stats().requests == 0, "there was no money left"
    assert again.report["lost_usd_at_most"] == first.report["lost_usd_at_most"]


def test_a_report_that_is_none_of_ours_is_one_line(answering: Answering) -> None:
    (answering.folder / "output").mkdir()
    (answering.folder / "output" / "report.json").write_text("[]")
    run = answering(instructions(3))
    assert run.code == 2 and "output/report.json is no report of this program" in run.complaint
    assert answering.teacher.stats().requests == 0


def test_the_key_is_in_no_log_however_much_is_logged(teacher: Teacher, tmp_path: Path) -> None:
    records = [*instructions(8), {"instruction": "Why? [[fault:429*1]]"}]
    records += [{"instruction": "Once? [[fault:half*1]]"}, {"instruction": "So? [[fault:401]]"}]
    (tmp_path / "records.json").write_text(json.dumps(records))
    run = subprocess.run(
        [
            *CLI,
            "data",
            "answer",
            "files=[records.json]",
            "run.output_dir=output",
            f"teacher.base_url={teacher.base_url}",
            "teacher.in_flight=1",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**ENVIRONMENT, "OPENAI_API_KEY": KEY, "OPENAI_LOG": "debug"},
    )
    assert run.returncode == 2 and "401" in run.stderr
    assert "DEBUG" in run.stderr and "HTTP Request" in run.stderr, "nothing was logged"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4 and os.path.exists(tmp_path / "output" / "report.json")
    hidden = KEY.removeprefix("sk-").encode()
    said = [run.stdout.encode(), run.stderr.encode(), *(path.read_bytes() for path in files)]
    assert not any(hidden in text for text in said)


def test_a_budget_needs_a_longest_answer(answering: Answering) -> None:
    run = answering(instructions(2), "run.budget_usd=1", "teacher.parameters={max_tokens: null}")
    assert run.code == 2 and "parameters.max_tokens" in run.complaint
    assert answering.teacher.stats().requests == 0


def test_a_parameter_that_no_file_names_is_sent(answering: Answering) -> None:
    run = answering(instructions(1), "teacher.parameters={seed: 7, top_p: null}")
    sent = run.records[0]["provenance"]["parameters"]
    assert sent["seed"] == 7 and "top_p" not in sent
