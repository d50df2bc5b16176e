"""Every item of a run is a record, a failure or still open, and the files say which."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data import cli
from llama_gpt4_data.answer import Answer
from llama_gpt4_data.generate import Generated
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.task import Counted, count, provenance, raise_trouble, summary

from llama_gpt4.errors import InputError, Preempted
from llama_gpt4.records import read_records

from .endpoints import endpoint_config, reply
from .teacher import Teacher
from .teacher_answers import answer
from .test_answer import SOURCE, config

Go = Callable[..., int]


@pytest.fixture
def go(teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """`llama-gpt4 data answer` of some records in a folder of its own; its exit code."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")

    def run(records: list[dict[str, Any]], *overrides: str) -> int:
        (tmp_path / "records.json").write_text(json.dumps(records, ensure_ascii=False))
        return cli.main(
            [
                "answer",
                f"files=[{tmp_path}/records.json]",
                f"run.output_dir={tmp_path}/out",
                f"run.journal_dir={tmp_path}/journal",
                f"teacher.base_url={teacher.base_url}",
                "frame=plain",
                *overrides,
            ]
        )

    return run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_data_set_that_can_be_trained_on(go: Go, tmp_path: Path) -> None:
    asked = [{"instruction": f"Question {n}?", "input": "" if n % 2 else "Here."} for n in range(9)]
    assert go(asked) == 0
    records = read_records(str(tmp_path / "out" / "data.json"))
    assert [record.instruction for record in records] == [each["instruction"] for each in asked]
    assert records[1].output == answer("Question 1?")
    assert records[0].output == answer("Question 0?\n\nHere.")
    assert read_records(str(tmp_path / "out" / "data.jsonl"))[3].output == records[3].output


def test_each_record_says_where_it_comes_from(go: Go, tmp_path: Path) -> None:
    assert go([{"instruction": "Why?", "output": "old"}, {"id": "x-7", "instruction": "How?"}]) == 0
    first, second = lines(tmp_path / "out" / "data.jsonl")
    assert first["label"] == "old" and second["id"] == "x-7"
    origin = second["provenance"]
    assert origin["derived_from"] == {"id": "x-7", "file": f"{tmp_path}/records.json", "index": 1}
    assert origin["task"] == "answer" and origin["model"].startswith("gpt-4")
    assert origin["parameters"] == {"max_tokens": 512, "temperature": 1.0, "top_p": 1.0}
    assert origin["finish_reason"] == "stop" and origin["licence"] == "cc-by-nc-4.0"
    assert origin["completion_tokens"] > 0 and origin["time"].startswith("20")


def test_what_fails_can_be_asked_again_from_its_file(
    go: Go, teacher: Teacher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.behaves(fail_first=99, fail_with="400")
    bad = {"instruction": "Bad?", "extra": [1]}
    assert go([bad, {"instruction": "[[fault:400]]"}]) == 0
    assert "2 items: 0 records, 2 failed, 0 not asked yet" in capsys.readouterr().out
    failed = lines(tmp_path / "out" / "failed.jsonl")
    assert failed[0] | {"failure": ""} == bad | {"failure": ""}
    assert failed[0]["failure"].startswith("400: ")
    teacher.behaves()
    (tmp_path / "out" / "failed.jsonl").rename(tmp_path / "again.jsonl")
    assert go([], f"files=[{tmp_path}/again.jsonl]", "limit=1") == 0
    [record] = read_records(str(tmp_path / "out" / "data.json"))
    assert record.output == answer("Bad?")


def test_the_report_adds_up(go: Go, tmp_path: Path) -> None:
    asked = [{"instruction": f"Question {n}?"} for n in range(5)]
    asked += [{"instruction": "[[fault:400]]"}, {"instruction": "[[fault:empty]]"}]
    asked += [{"instruction": "[[fault:length]] a"}]
    assert go(asked) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["items"] == 8 == report["records"] + report["failed"] + report["open"]
    assert report["failed"] == 2 and sum(report["failures"].values()) == 2
    assert report["findings"] == {"empty": 1, "truncated": 1}
    assert report["spent_usd"] > 0


def test_a_folder_in_use_is_refused(go: Go, tmp_path: Path, capsys: Any) -> None:
    from llama_gpt4.program import hold

    (tmp_path / "out").mkdir()
    handle = hold(tmp_path / "out")
    assert go([{"instruction": "Why?"}]) == 2
    assert "run.output_dir" in capsys.readouterr().err and handle


def test_items_that_were_never_asked_are_open(tmp_path: Path) -> None:
    item = Answer(SOURCE, config())
    counted = count("answer", [item], Generated(), Journal(tmp_path), endpoint_config())
    assert counted.n_open == 1 and not counted.failed and not counted.records


def test_a_dropped_answer_is_a_failure_with_its_finding(tmp_path: Path) -> None:
    item = Answer(SOURCE, config())
    journal = Journal(tmp_path)
    asked = item.request([])
    assert asked is not None
    journal.append(reply(asked, " "))
    counted = count("answer", [item], Generated(), journal, endpoint_config())
    assert counted.reasons == {"empty": 1} and counted.findings == {"empty": 1}
    assert "1 items: 0 records, 1 failed" in summary(counted, Generated(), tmp_path)


@pytest.mark.parametrize(
    "generated, error, words",
    [
        (
            Generated(trouble="run.budget_usd"),
            InputError,
            r"run\.budget_usd=5 does not last for the 3",
        ),
        (Generated(trouble="gpt-4 at … is gone"), InputError, "is gone"),
        (
            Generated(is_interrupted=True),
            Preempted,
            "3 items are not asked yet; the same line goes on",
        ),
    ],
)
def test_what_ends_a_run_early_is_one_line(
    generated: Generated, error: type[Exception], words: str
) -> None:
    run = config().run
    run.budget_usd = 5.0
    with pytest.raises(error, match=words):
        raise_trouble(generated, Counted(n_open=3), run)


def test_a_run_that_went_through_ends_quietly() -> None:
    raise_trouble(Generated(), Counted(), config().run)


def test_tokens_that_nobody_counted_are_not_none_at_all() -> None:
    item = Answer(SOURCE, config())
    asked = item.request([])
    assert asked is not None
    for counted, told in ((7, 7), (None, None)):
        replies = [reply(asked, completion_tokens=counted)]
        origin = provenance("answer", item, replies, item.made(replies), endpoint_config())
        assert origin["completion_tokens"] == told


def test_a_run_does_not_overwrite_what_it_reads(go: Go, tmp_path: Path, capsys: Any) -> None:
    assert go([{"instruction": "A?"}]) == 0
    assert go([], f"files=[{tmp_path}/out/failed.jsonl, {tmp_path}/out/data.json]") == 2
    assert "choose another run.output_dir" in capsys.readouterr().err


def test_a_wrong_address_leaves_the_data_set_that_is_there(go: Go, tmp_path: Path) -> None:
    assert go([{"instruction": "A?"}]) == 0
    before = lines(tmp_path / "out" / "data.jsonl")
    assert go([{"instruction": "A?"}], "teacher.base_url=http://127.0.0.1:9/v1") == 2
    assert lines(tmp_path / "out" / "data.jsonl") == before
