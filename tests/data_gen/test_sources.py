"""Records become what is asked: each as often as it is there, under an id that stays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.sources import read_sources

from llama_gpt4.errors import InputError
from llama_gpt4.questions import hashed_id

WriteJson = Callable[..., str]


@pytest.fixture
def write_json(tmp_path: Path) -> WriteJson:
    def write(value: Any, name: str = "records.json") -> str:
        path = tmp_path / name
        path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        return str(path)

    return write


def test_what_is_there_twice_is_asked_twice(write_json: WriteJson) -> None:
    same = {"instruction": "Name a colour.", "input": ""}
    file = write_json([same, {"instruction": "Name a fish."}, same, {**same, "input": "N/A"}])
    sources = read_sources([file], None)
    assert [source.repeat for source in sources] == [0, 0, 1, 2]
    own = hashed_id("Name a colour.", "")
    assert [s.id for s in sources if s.instruction == "Name a colour."] == [
        own,
        f"{own}-1",
        f"{own}-2",
    ]
    assert sources[3].origin == {"id": f"{own}-2", "file": file, "index": 3}


def test_the_three_schemas(write_json: WriteJson) -> None:
    alpaca = write_json([{"instruction": "Add.", "input": "1 1", "output": "2"}], "a.json")
    unnatural = write_json(
        [
            {
                "instruction": "Add.",
                "instances": [{"input": "2 2", "output": "4", "constraints": "none"}],
            }
        ],
        "u.json",
    )
    vicuna = write_json([{"question_id": 7, "text": "Why?", "category": "generic"}], "v.json")
    a, u, v = read_sources([alpaca, unnatural, vicuna], None)
    assert (a.instruction, a.input, a.output) == ("Add.", "1 1", "2")
    assert (u.instruction, u.input, u.output) == ("Add.", "2 2", "4")
    assert (v.id, v.instruction, v.input, v.output) == ("7", "Why?", "", "")


def test_a_limit_is_over_all_files(write_json: WriteJson) -> None:
    files = [
        write_json([{"instruction": f"{n} {m}"} for m in range(3)], f"{n}.json") for n in range(3)
    ]
    assert [s.instruction for s in read_sources(files, 4)] == ["0 0", "0 1", "0 2", "1 0"]


def test_bad_files_are_named(write_json: WriteJson, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json does not exist"):
        read_sources([str(tmp_path / "nowhere.json")], None)
    with pytest.raises(InputError, match=r"records\.json record 0 has no key `instruction`"):
        read_sources([write_json([{"output": "x"}])], None)
    with pytest.raises(InputError, match="hold no record"):
        read_sources([write_json([])], None)


def test_answers_of_a_model_are_sources(tmp_path: Path) -> None:
    """`data rate` takes what `llama-gpt4 answer` and `rank` write."""
    line = {"question_id": "a", "question": "Add.\n2, 2", "input": "2, 2", "answer": "4"}
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(line) + "\n")
    [found] = read_sources([str(path)], None)
    assert (found.id, found.instruction, found.input, found.output) == ("a", "Add.", "2, 2", "4")
