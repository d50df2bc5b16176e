"""Files of answers are joined by what their records say, never by where they stand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.joined import Answered, read_answered

from llama_gpt4.errors import InputError

WriteRecords = Callable[[str, list[dict[str, Any]]], str]


@pytest.fixture
def write_records(tmp_path: Path) -> WriteRecords:
    def write(name: str, records: list[dict[str, Any]]) -> str:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(records), encoding="utf-8")
        return str(path)

    return write


def record(instruction: str, output: str, **more: Any) -> dict[str, Any]:
    return {"instruction": instruction, "input": "", "output": output, **more}


def outputs(answered: Answered) -> dict[str, str]:
    return {model: source.output for model, source in answered.answers.items()}


def test_records_in_another_order_meet_by_what_they_ask(write_records: WriteRecords) -> None:
    a = write_records("a", [record("One?", "a1"), record("Two?", "a2")])
    b = write_records("b", [record("Two?", "b2"), record("One?", "b1")])
    joined, n_left_out = read_answered({"a": a, "b": b}, "error", None)
    assert [outputs(answered) for answered in joined] == [
        {"a": "a1", "b": "b1"},
        {"a": "a2", "b": "b2"},
    ]
    assert n_left_out == 0


def test_the_same_question_again_meets_its_own_repeat(write_records: WriteRecords) -> None:
    a = write_records("a", [record("One?", "a1"), record("One?", "a1 again")])
    b = write_records("b", [record("One?", "b1"), record("Two?", "b"), record("One?", "b1 again")])
    joined, _ = read_answered({"a": a, "b": b}, "drop", None)
    assert [outputs(answered) for answered in joined] == [
        {"a": "a1", "b": "b1"},
        {"a": "a1 again", "b": "b1 again"},
    ]
    assert len({answered.id for answered in joined}) == 2


def test_ids_join_where_all_records_have_one(write_records: WriteRecords) -> None:
    """The first answer to a question that is asked twice is missing in one file."""
    a = write_records("a", [record("One?", "first", id="x"), record("One?", "second", id="x-1")])
    b = write_records("b", [record("One?", "other second", id="x-1")])
    joined, n_left_out = read_answered({"a": a, "b": b}, "drop", None)
    assert [(answered.id, outputs(answered)) for answered in joined] == [
        ("x-1", {"a": "second", "b": "other second"})
    ]
    assert n_left_out == 1


def test_ids_of_one_file_alone_join_nothing(write_records: WriteRecords) -> None:
    a = write_records("a", [record("One?", "a1", id="1"), record("Two?", "a2", id="2")])
    b = write_records("b", [record("Two?", "b2"), record("One?", "b1")])
    joined, _ = read_answered({"a": a, "b": b}, "error", None)
    assert outputs(joined[0]) == {"a": "a1", "b": "b1"}


def test_ids_that_mean_different_things_are_counted_and_refused(
    write_records: WriteRecords,
) -> None:
    a = write_records("a", [record(f"{n}?", "a", id=n) for n in range(5)])
    shifted = write_records("b", [record(f"{n + 1 if n > 1 else n}?", "b", id=n) for n in range(5)])
    with pytest.raises(InputError) as caught:
        read_answered({"a": a, "b": shifted}, "keep", None)
    message = str(caught.value)
    assert "3 of 5 ids ask different things" in message
    assert f'2 is "2?" in {a}, but "3?" in {shifted}' in message


def test_missing_answers_are_counted_kept_or_dropped(write_records: WriteRecords) -> None:
    a = write_records("a", [record("One?", "a1"), record("Two?", "a2"), record("Three?", "a3")])
    b = write_records("b", [record("Two?", "b2"), record("Four?", "b4")])
    files = {"a": a, "b": b}
    with pytest.raises(
        InputError, match=rf"3 of 4 instructions are not in all files \(missing: 2 in {b}, 1 in {a}"
    ):
        read_answered(files, "error", None)
    kept, n_left_out = read_answered(files, "keep", None)
    assert [list(answered.answers) for answered in kept] == [["a"], ["a", "b"], ["a"], ["b"]]
    assert n_left_out == 0
    dropped, n_left_out = read_answered(files, "drop", None)
    assert [answered.instruction for answered in dropped] == ["Two?"] and n_left_out == 3


@pytest.mark.parametrize("missing", ["keep", "drop", "error"])
def test_files_of_other_questions_are_refused(write_records: WriteRecords, missing: str) -> None:
    a = write_records("a", [record("One?", "a1")])
    b = write_records("b", [record("Two?", "b2"), record("Three?", "b3")])
    c = write_records("c", [record("One?", "c1")])
    with pytest.raises(InputError, match=rf"answers\.b: none of the 2 instructions of {b} is in"):
        read_answered({"a": a, "b": b, "c": c}, missing, None)


def test_one_file_needs_no_other(write_records: WriteRecords) -> None:
    a = write_records("a", [record(f"{n}?", "a") for n in range(4)])
    joined, _ = read_answered({"a": a}, "error", 3)
    assert [answered.instruction for answered in joined] == ["0?", "1?", "2?"]
