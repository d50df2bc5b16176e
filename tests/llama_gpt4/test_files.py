"""Files are whole or as they were."""

import json
from pathlib import Path

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.files import bytes_aside, write_array, write_json, write_jsonl, written_aside

RECORDS = [
    {"instruction": "说“是”。", "output": "是 \ud83d"},
    {"instruction": "b\u2028", "output": ""},
]


@pytest.mark.parametrize("records", [[], RECORDS[:1], RECORDS])
def test_what_is_written_is_read_back(tmp_path: Path, records: list[dict[str, str]]) -> None:
    write_array(tmp_path / "new" / "a.json", records)
    assert json.loads((tmp_path / "new" / "a.json").read_text(encoding="utf-8")) == records
    write_jsonl(tmp_path / "a.jsonl", records)
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == records
    write_json(tmp_path / "b.json", {"records": records})
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8")) == {"records": records}


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), written_aside(path) as file:
        file.write("half")
        raise ZeroDivisionError
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"data\.json cannot be written"):
        write_json(tmp_path / "file" / "data.json", {})


def test_pictures_are_whole_too(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    with bytes_aside(path) as file:
        file.write(b"\x89PNG\r\n")
        assert not path.exists()
    assert path.read_bytes() == b"\x89PNG\r\n" and list(tmp_path.iterdir()) == [path]
