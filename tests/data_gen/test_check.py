"""The program `llama-gpt4 data check`: its table, its report, its cleaned file, what it refuses."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.check import main

from llama_gpt4.errors import ExitCode

RECORDS: list[dict[str, Any]] = [
    {"instruction": "Name a tree.", "input": "<noinput>", "output": "An oak.", "id": 7},
    {"instruction": "Name a river.", "input": "", "output": ""},
    {"instruction": "说出一种树。", "output": "橡树。"},
    {"instruction": "Name a tree.", "input": "", "output": "A lime."},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "记录.json"
    path.write_text(json.dumps(RECORDS, ensure_ascii=False), "utf-8")
    return path


def test_the_table_counts_every_record(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"files=[{file}]"]) == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    table = {line.split()[0]: line.split()[1:3] for line in lines[1:-2]}
    assert table["empty"] == ["drop", "1"]
    assert table["duplicate"] == ["drop", "1"]
    assert table["placeholder_input"] == ["keep", "1"]
    assert sum(int(count) for _, count in table.values()) == 3
    assert lines[-1] == "4 records read = 2 kept + 2 dropped"
    assert "记录.json record 1" in next(line for line in lines if line.startswith("empty"))


def test_the_cleaned_file_has_the_records_that_stay(file: Path, tmp_path: Path) -> None:
    for name in ("new/clean.json", "clean.jsonl"):
        output = tmp_path / name
        assert main([f"files=[{file}]", f"output={output}"]) == ExitCode.DONE
        text = output.read_text("utf-8")
        lines = text.splitlines()
        kept = [json.loads(line) for line in lines] if name.endswith("l") else json.loads(text)
        assert kept == [RECORDS[0] | {"input": ""}, RECORDS[2]]
        assert "橡树" in text and output.stat().st_mode & 0o777 == 0o644
        assert [path.name for path in output.parent.iterdir() if path.name[0] == "."] == []


def test_the_report_has_the_numbers_of_the_records(file: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert main([f"files=[{file}]", f"report={report}", "answer.empty=keep"]) == ExitCode.DONE
    found = json.loads(report.read_text("utf-8"))
    assert (found["read"], found["kept"], found["dropped"]) == (4, 3, 1)
    assert found["config"]["answer"]["empty"] == "keep"
    assert found["rules"]["duplicate"] == {
        "policy": "drop",
        "records": [
            {"file": str(file), "record": 3, "found": "of 记录.json record 0: Name a tree."}
        ],
    }
    assert found["rules"]["refusal"] == {"policy": "keep", "records": []}


def test_an_error_policy_reports_and_cleans_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, output = tmp_path / "report.json", tmp_path / "clean.json"
    arguments = [f"files=[{file}]", f"report={report}", f"output={output}"]
    assert main([*arguments, "record.duplicate=error"]) == ExitCode.BAD_INPUT
    said = capsys.readouterr()
    assert said.err == (
        f"llama-gpt4 data check: record.duplicate=error, and 1 record has it, first {file} "
        "record 3: mend what is there, or say record.duplicate=drop or record.duplicate=keep\n"
    )
    assert "4 records read" in said.out
    assert report.exists() and not output.exists()


def test_sound_records_pass_an_error_policy(file: Path) -> None:
    assert main([f"files=[{file}]", "answer.refusal=error"]) == ExitCode.DONE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"instruction": "Name a tree."}]', "record 0 has no key `output`"),
        ("[]", "holds no record"),
        ("{", "is neither a JSON array nor JSONL"),
    ],
)
def test_what_is_no_record_is_one_line(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    assert main([f"files=[{file}]"]) == ExitCode.BAD_INPUT
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("llama-gpt4 data check: ") and message in line


def test_a_file_that_cannot_be_written_is_named(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "taken"
    output.mkdir()
    assert main([f"files=[{file}]", f"output={output}"]) == ExitCode.BAD_INPUT
    assert f"output={output} cannot be written" in capsys.readouterr().err
    assert [name for name in os.listdir(tmp_path) if name[0] == "."] == []


def test_help_explains_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == ExitCode.DONE
    assert "answer.refusal: str\n    The answer says that it cannot" in capsys.readouterr().out


def test_no_file_that_is_read_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.json").write_text('[{"instruction": "a", "output": ""}]')
    assert main(["files=[mine.json]", "output=./mine.json"]) == 2
    assert "output=./mine.json would overwrite" in capsys.readouterr().err
