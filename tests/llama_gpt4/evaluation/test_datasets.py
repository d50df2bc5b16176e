"""Data sets as texts, and the numbers of the published question files."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.datasets import Text, language_of_texts, outline, read_texts
from llama_gpt4.evaluation.lengths import whitespace_words

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
real = pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            {"instruction": "Do.", "input": "<noinput>", "output": "done", "label": "right"},
            Text("Do.", "", "done", None),
        ),
        ({"text": "What?", "category": "math"}, Text("What?", "", None, "math")),
        ({"question_id": 1, "text": "So.", "model_id": "m"}, Text(None, "", "So.", None)),
        ({"question_id": 1, "question": "Q", "answer": "A"}, Text("Q", "", "A", None)),
        (
            {
                "instruction": "Do.",
                "motivation_app": "X",
                "instances": [{"input": "i", "output": ""}],
            },
            Text("Do.", "i", "", "X"),
        ),
    ],
)
def test_every_layout_is_read(tmp_path: Path, record: dict[str, Any], text: Text) -> None:
    (tmp_path / "a.json").write_text(json.dumps([record]), "utf-8")
    assert read_texts(str(tmp_path / "a.json")) == [text]


def test_samples_are_read_and_their_languages_told() -> None:
    for language in ("en", "zh"):
        texts = read_texts(f"sample:{language}")
        assert language_of_texts([text.output or "" for text in texts]) == language


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no record"),
        ("[3]", "record 0 is a JSON number, not an object"),
        ('[{"title": "x"}]', "has no key `instruction`, `text` or `turns`"),
        ('[{"instruction": "x", "output": ["a", "b"]}]', "`output` is a JSON array"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content, "utf-8")
    with pytest.raises(InputError, match=message):
        read_texts(str(tmp_path / "a.json"))
    with pytest.raises(InputError, match=r"b.json does not exist"):
        read_texts(str(tmp_path / "b.json"))


@real
def test_the_252_prompts_are_as_published() -> None:
    texts = read_texts(f"{REAL_DATA}/user_oriented_instructions.jsonl")
    found = outline(texts, whitespace_words)
    assert (found["records"], found["groups"]["distinct"]) == (252, 71)
    assert found["groups"]["distinct_ignoring_case"] == 70
    assert (found["distinct_instructions"], found["distinct_questions"]) == (251, 252)
    assert found["without_input"] == 44
    means = [found[f"{part}_words"]["mean"] for part in ("instruction", "input", "output")]
    assert [round(mean, 1) for mean in means] == [17.8, 28.6, 50.1]
    assert (found["output_words"]["least"], found["output_words"]["most"]) == (1, 531)


@real
def test_the_80_questions_have_nine_categories() -> None:
    found = outline(read_texts(f"{REAL_DATA}/vicuna_question_80.jsonl"), whitespace_words)
    assert (found["records"], found["with_output"]) == (80, 0)
    ten = ("generic", "knowledge", "roleplay", "common-sense", "fermi", "counterfactual", "writing")
    assert found["groups"]["counts"] == dict.fromkeys(ten, 10) | {"coding": 7, "math": 3}


@real
def test_opponents_answers_are_as_long_as_published() -> None:
    expected = {"alpaca-13b": 84, "llama-13b": 125, "gpt35": 192, "bard": 218, "vicuna-13b": 233}
    for model, words in expected.items():
        texts = read_texts(f"{REAL_DATA}/vicuna/answers/answer_{model}.jsonl")
        found = outline(texts, whitespace_words)
        assert round(found["output_words"]["mean"]) == words
        assert found["empty_outputs"] == (model == "llama-13b")
