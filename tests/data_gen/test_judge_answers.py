"""Questions and answers are joined by id, and what does not belong together is refused."""

import os
from collections import Counter
from pathlib import Path

import pytest
from llama_gpt4_data.judge_answers import read_categories, read_entered

from llama_gpt4.errors import InputError

from .judging import write_answers, write_lines, write_questions

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


@pytest.fixture
def questions(tmp_path: Path) -> str:
    return write_questions(tmp_path / "q.jsonl", ["One?", "Two?", "Three?"])


def test_layouts_are_joined_whatever_their_order(questions: str, tmp_path: Path) -> None:
    files = {
        "fastchat": write_answers(tmp_path / "a.jsonl", ["1", "2", ""]),
        "ours": write_lines(
            tmp_path / "b.jsonl",
            [
                {"question_id": n, "question": q, "answer": f"{n}.{s}", "sample": s}
                for n, q in ((3, "Three?"), (1, "One?"), (2, "Two?"))
                for s in (0, 1)
            ],
        ),
        "record": write_lines(
            tmp_path / "c.jsonl",
            [{"instruction": q, "input": "", "output": q[0]} for q in ("Two?", "Three?", "One?")],
        ),
    }
    entered = read_entered(questions, files, "error", None)
    assert [question.id for question in entered.questions] == ["1", "2", "3"]
    first = entered.questions[0]
    assert first.answers == {"fastchat": "1", "ours": "1.0", "record": "O"}
    assert (first.text, first.category) == ("One?", "generic")
    assert entered.counts["fastchat"]["empty"] == 1
    assert entered.counts["ours"]["further_samples_left_out"] == 3
    assert len(read_entered(questions, files, "error", 2).questions) == 2


def test_a_missing_answer_is_named_or_left_out_for_all(questions: str, tmp_path: Path) -> None:
    files = {
        "a": write_answers(tmp_path / "a.jsonl", ["1", "2", "3"]),
        "b": write_answers(tmp_path / "b.jsonl", ["1"]),
    }
    with pytest.raises(InputError, match=r"answers\.b: .*b.jsonl does not answer 2 of 3 .*\(2, 3"):
        read_entered(questions, files, "error", None)
    entered = read_entered(questions, files, "drop", None)
    assert [question.id for question in entered.questions] == ["1"] and entered.n_left_out == 2


@pytest.mark.parametrize(
    "lines, words",
    [
        ([{"question_id": 9, "text": "x"}], "answers the question 9, which is not among the 3"),
        (
            [{"question_id": 1, "text": "x"}, {"question_id": "1", "text": "y"}],
            "record 2 answers the question 1 again, as .* record 1 does",
        ),
        (
            [{"question_id": 1, "question": "Uno?", "answer": "x", "sample": 0}],
            "answers another question 1 than the one in `questions`",
        ),
        ([{"instruction": "Ten?", "output": "10"}], "which is not among the 3 questions"),
    ],
)
def test_what_does_not_belong_to_the_questions(
    questions: str, tmp_path: Path, lines: list[dict[str, object]], words: str
) -> None:
    files = {"a": write_lines(tmp_path / "a.jsonl", lines)}
    with pytest.raises(InputError, match=words):
        read_entered(questions, files, "drop", None)


def test_no_common_question_is_nothing_to_judge(questions: str, tmp_path: Path) -> None:
    files = {
        "a": write_answers(tmp_path / "a.jsonl", ["1"]),
        "b": write_lines(tmp_path / "b.jsonl", [{"question_id": 2, "text": "2"}]),
    }
    with pytest.raises(InputError, match="no question is answered in all files"):
        read_entered(questions, files, "drop", None)


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_the_categories_of_vicuna_s_80_questions() -> None:
    assert REAL_DATA is not None
    categories = Counter(read_categories(f"{REAL_DATA}/vicuna_question_80.jsonl").values())
    tens = (
        "generic",
        "knowledge",
        "roleplay",
        "common-sense",
        "fermi",
        "counterfactual",
        "writing",
    )
    assert categories == Counter({"coding": 7, "math": 3} | dict.fromkeys(tens, 10))
