"""A folder that `datasets` opens, with what `data.jsonl` says."""

import json
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.arrow import write_arrow

from llama_gpt4.errors import InputError

RECORDS: list[dict[str, Any]] = [
    {"instruction": "说“是”。", "output": "是", "provenance": {"parameters": {"stop": "a"}}},
    {"instruction": "b", "output": "", "label": "x", "provenance": {"parameters": {"stop": ["a"]}}},
]


def loaded(folder: Path) -> list[dict[str, Any]]:
    import datasets

    return [dict(row) for row in datasets.load_from_disk(str(folder))]


def test_datasets_loads_what_was_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_arrow(tmp_path / "arrow", RECORDS)
    first, second = loaded(tmp_path / "arrow")
    assert (first["instruction"], first["output"], first["label"]) == ("说“是”。", "是", None)
    assert second["label"] == "x"
    assert json.loads(second["provenance"]) == RECORDS[1]["provenance"]
    assert capfd.readouterr().err == "", "a progress bar of seconds' work is noise"


def test_keys_that_differ_between_records_are_no_columns(tmp_path: Path) -> None:
    """Ten nearest instructions a record would be half a million keys, each in every record."""
    records = [{"nearest": {f"instruction {n}": 0.5}} for n in range(3)]
    write_arrow(tmp_path / "arrow", records)
    assert [json.loads(row["nearest"]) for row in loaded(tmp_path / "arrow")] == [
        record["nearest"] for record in records
    ]


def test_the_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_arrow(tmp_path / "arrow", RECORDS)
    (tmp_path / "arrow.partial").mkdir()  # as a killed run leaves it
    (tmp_path / "arrow.partial" / "half").write_text("")
    write_arrow(tmp_path / "arrow", RECORDS[:1])
    assert len(loaded(tmp_path / "arrow")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["arrow"]


def test_no_records_leave_no_folder(tmp_path: Path) -> None:
    write_arrow(tmp_path / "arrow", RECORDS)
    write_arrow(tmp_path / "arrow", [])
    assert not list(tmp_path.iterdir())


def test_half_a_letter_is_no_reason_to_fail(tmp_path: Path) -> None:
    write_arrow(tmp_path / "arrow", [{"output": "half \ud83d"}])
    assert loaded(tmp_path / "arrow") == [{"output": "half \\ud83d"}]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="arrow cannot be written"):
        write_arrow(tmp_path / "file" / "arrow", RECORDS)
