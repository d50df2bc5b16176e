"""Which instructions overlap the questions of an evaluation."""

import json
import os
from pathlib import Path

import pytest

from llama_gpt4.decontamination import EvaluationOverlap
from llama_gpt4.errors import InputError
from llama_gpt4.questions import read_questions

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


@pytest.fixture
def overlap(tmp_path: Path) -> EvaluationOverlap:
    asked = ["Which trees grow best in the north of Spain?", "???", "请列出四种生长在欧洲的树木。"]
    asked += ["Write a poem.", "Write a poem."]
    lines = [json.dumps({"question_id": n, "text": text}) for n, text in enumerate(asked)]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    return EvaluationOverlap([str(tmp_path / "questions.jsonl")], 0.7, "the.key")


@pytest.mark.parametrize(
    ("instruction", "found"),
    [
        ("Which trees grow best in the north of Spain? ", "equals questions.jsonl 0: Which"),
        ("Which trees grow best in the north of Italy?", "0.89 questions.jsonl 0: Which trees"),
        ("Write a poem.", "equals questions.jsonl 3, questions.jsonl 4: Write"),
        ("write a poem", "1.00 questions.jsonl 3, 1.00 questions.jsonl 4: write"),
        (" ???", "equals questions.jsonl 1: ???"),  # has no words
        ("请列出四种生长在欧洲的树木", "1.00 questions.jsonl 2: 请列出"),
        ("请列出三种生长在欧洲的树木。", "0.92 questions.jsonl 2: 请列出"),
    ],
)
def test_what_overlaps(overlap: EvaluationOverlap, instruction: str, found: str) -> None:
    assert (overlap.with_question(instruction) or "").startswith(found)


@pytest.mark.parametrize("instruction", ["Which river is long?", "!!!", "请写一首关于秋天的诗。"])
def test_what_does_not(overlap: EvaluationOverlap, instruction: str) -> None:
    assert overlap.with_question(instruction) is None


def test_a_file_that_is_not_there_is_named_with_its_key() -> None:
    with pytest.raises(InputError, match=r"the\.key=nowhere\.json does not exist"):
        EvaluationOverlap(["nowhere.json"], 0.7, "the.key")


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_the_published_files_overlap_in_three_tasks() -> None:
    """Alpaca's seeds and the 252 instructions that its models are compared on."""
    seeds = EvaluationOverlap([f"{REAL_DATA}/seed_tasks.jsonl"], 0.7, "seeds")
    tasks = read_questions(f"{REAL_DATA}/user_oriented_instructions.jsonl")
    found = {n: seeds.with_question(task.instruction) for n, task in enumerate(tasks)}
    assert [n for n, text in found.items() if text] == [32, 89, 124]
    assert sum((text or "").startswith("equals") for text in found.values()) == 2
