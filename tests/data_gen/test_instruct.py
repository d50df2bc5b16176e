"""`data instruct` on a server: three methods, two languages, and nothing paid for twice."""

import json
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data import cli
from llama_gpt4_data.instruct import earlier_failures, items, rounds_at_least

from llama_gpt4.errors import InputError
from llama_gpt4.language import language_of

from .instructing import config, rounds
from .teacher import Teacher


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def instruct(teacher: Teacher, tmp_path: Path) -> Any:
    def run(*more: str) -> tuple[int, Path]:
        code = cli.main(
            [
                "instruct",
                f"run.output_dir={tmp_path / 'out'}",
                f"run.journal_dir={tmp_path / 'journal'}",
                f"teacher.base_url={teacher.base_url}",
                *more,
            ]
        )
        return code, tmp_path / "out"

    return run


def test_as_alpaca_made_them(
    instruct: Any, teacher: Teacher, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = instruct("count=20", "rounds.prompts=3")
    assert code == 0
    report = json.loads((out / "report.json").read_text())
    assert report["ended"] == "count" and report["records"] >= 20 and report["open"] == 0
    assert report["items"] == report["tasks"]["read"] == report["records"] + report["failed"]
    assert report["spent_usd"] > 0
    n_prompts = 3 * len(report["rounds"])
    assert teacher.stats().requests == n_prompts
    plain = json.loads((out / "data.json").read_text())
    assert list(plain[0]) == [
        "instruction", "input", "output", "most_similar_instructions", "avg_similarity_score"
    ]  # fmt: skip
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("round 0: 3 prompts; 51 tasks: ")
    first = (out / "data.json").read_bytes()

    assert instruct("count=20", "rounds.prompts=3")[0] == 0
    assert teacher.stats().requests == n_prompts and (out / "data.json").read_bytes() == first

    assert instruct("count=45", "rounds.prompts=3")[0] == 0
    again = lines(out / "data.jsonl")
    assert [record["instruction"] for record in again[: len(plain)]] == [
        record["instruction"] for record in plain
    ]
    assert teacher.stats().paid_twice == 0


def test_rounds_in_chinese_that_learn_from_one_another(instruct: Any) -> None:
    code, out = instruct("method=iterative", "language=zh", "count=45", "rounds.prompts=4")
    assert code == 0
    records, told = lines(out / "data.jsonl"), lines(out / "rounds.jsonl")
    assert all(language_of(record["instruction"]) == "zh" for record in records)
    assert [line["round"] for line in told] == list(range(len(told))) and len(told) > 1
    machine = {record["id"] for record in records}
    later = [r for r in records if r["provenance"]["derived_from"]["round"] > 0]
    shown = {id for r in later for id in r["provenance"]["derived_from"]["demonstrations"]}
    assert shown & machine


def test_as_self_instruct_made_them(instruct: Any, teacher: Teacher) -> None:
    code, out = instruct("method=self_instruct", "count=12", "rounds.prompts=2")
    assert code == 0
    report = json.loads((out / "report.json").read_text())
    states = report["instructions"]
    accepted = report["tasks"]["accepted"]
    assert sum(states.values()) == accepted and states["with_instances"] > 0
    assert teacher.stats().requests == 2 * len(report["rounds"]) + 2 * accepted
    assert all(record["output"] for record in lines(out / "data.jsonl"))


def test_a_prompt_that_fails_is_told_and_stays_out(instruct: Any, teacher: Teacher) -> None:
    teacher.behaves(faults={"400": 0.4}, seed=2)
    code, out = instruct("count=1000", "rounds.prompts=4", "rounds.most=2")
    assert code == 0
    report = json.loads((out / "report.json").read_text())
    prompts = report["prompts"]
    assert prompts["replied"] + prompts["failed"] == 8 and prompts["failed"] > 0
    first = (out / "data.json").read_bytes()
    assert len(earlier_failures(out)) == prompts["failed"]
    teacher.behaves()
    assert instruct("count=1000", "rounds.prompts=4", "rounds.most=2")[0] == 0
    assert teacher.stats().requests == 0 and (out / "data.json").read_bytes() == first


def test_a_budget_ends_it_between_two_rounds_or_within(
    instruct: Any, teacher: Teacher, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out = instruct("count=25", "rounds.prompts=3", "run.budget_usd=0.25")
    assert code == 2
    assert "run.budget_usd=0.25 does not last" in capfd.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert report["ended"] == "stopped" and report["spent_usd"] <= 0.25
    assert instruct("count=25", "rounds.prompts=3", "run.budget_usd=50")[0] == 0
    assert teacher.stats().paid_twice == 0


def test_a_file_of_somebody_else_is_not_taken_for_earlier_rounds(tmp_path: Path) -> None:
    assert earlier_failures(tmp_path) == {}
    (tmp_path / "rounds.jsonl").write_text('{"round": 1}\n')
    with pytest.raises(InputError, match=r"rounds\.jsonl is no file of this program"):
        earlier_failures(tmp_path)


def test_what_can_be_known_before_anything_is_asked() -> None:
    wanted = config(count=100, rounds=rounds(prompts=2, most=100))
    assert len(items(wanted)) == 2
    assert rounds_at_least(wanted) == 6  # of two prompts with nine tasks each
    assert rounds_at_least(config(count=100, rounds=rounds(prompts=2, most=3))) == 3
