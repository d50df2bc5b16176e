"""Answers of a model in the layouts that there are."""

import os
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.answer_files import read_model_answers

from llama_gpt4.errors import InputError
from llama_gpt4.questions import hashed_id

from .judging import write_lines

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


def test_the_three_layouts(tmp_path: Path) -> None:
    file = write_lines(
        tmp_path / "a.jsonl",
        [
            {"question_id": 7, "question": "Why?", "answer": "So.", "sample": 2, "model": "m"},
            {"answer_id": "X", "question_id": 8, "text": "", "model_id": "n"},
            {"id": "9", "instruction": "Add.", "input": "1 1", "output": "2"},
            {"instruction": "Add.", "input": "", "output": "0"},
        ],
    )
    ours, fastchat, record, plain = read_model_answers(file)
    assert (ours.question_id, ours.question, ours.text, ours.sample) == ("7", "Why?", "So.", 2)
    assert (fastchat.question_id, fastchat.question, fastchat.text) == ("8", None, "")
    assert (ours.model, fastchat.model, record.model) == ("m", "n", None)
    assert (record.question_id, record.question, record.text) == ("9", "Add.\n1 1", "2")
    assert plain.question_id == hashed_id("Add.", "") and not plain.has_own_id


@pytest.mark.parametrize(
    "line, words",
    [
        ({"question_id": 1}, "has no key `answer`, `output` or `text`"),
        ({"text": "x"}, "has no `question_id`"),
        ({"question_id": 1, "answer": None}, "`answer` is a JSON null, not a string"),
        ({"question_id": 1, "answer": "x", "sample": "0"}, "`sample` is a JSON string"),
        ({"question_id": 1, "answer": "x", "question": 3}, "`question` is a JSON number"),
        ("x", "is a JSON string, not an object"),
    ],
)
def test_what_is_no_answer_is_named(tmp_path: Path, line: Any, words: str) -> None:
    file = write_lines(tmp_path / "a.jsonl", [line])
    with pytest.raises(InputError, match=r"a\.jsonl record 1") as refused:
        read_model_answers(file)
    assert words in str(refused.value)


def test_a_single_line_is_a_file_of_answers(tmp_path: Path) -> None:
    line = {"question_id": 1, "question": "?", "answer": "x", "decoding": {"temperature": 0.0}}
    [answer] = read_model_answers(write_lines(tmp_path / "a.jsonl", [line]))
    assert answer.text == "x"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", [])
    with pytest.raises(InputError, match="holds no answer"):
        read_model_answers(file)


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_published_answers_of_vicuna_s_questions() -> None:
    assert REAL_DATA is not None
    words, empty = {}, []
    for file in sorted((Path(REAL_DATA) / "vicuna" / "answers").iterdir()):
        answers = read_model_answers(str(file))
        assert [answer.question_id for answer in answers] == [str(n) for n in range(1, 81)]
        words[file.stem] = round(sum(len(a.text.split()) for a in answers) / 80)
        empty += [file.stem for answer in answers if not answer.text.strip()]
    assert empty == ["answer_llama-13b"]
    wanted = {"alpaca-13b": 84, "llama-13b": 125, "gpt35": 192, "bard": 218, "vicuna-13b": 233}
    assert {name: words[f"answer_{name}"] for name in wanted} == wanted
