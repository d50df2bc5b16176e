"""Judgements out of files: ours come back as they were, FastChat's as they were published."""

from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.judge_records import Known, known_answers, read_judgements

from llama_gpt4.errors import InputError

from .judging import judgement, write_lines

NOTHING = Known({}, {})


def review(**values: Any) -> dict[str, Any]:
    given = {
        "review_id": "R",
        "question_id": 1,
        "answer1_id": "X",
        "answer2_id": "Y",
        "reviewer_id": 1,
        "metadata": {},
        "text": "8 9\nSince …",
        "score": [8, 9],
    }
    return given | values


def test_ours_come_back_as_they_were(tmp_path: Path) -> None:
    keys = ("text", "judge", "prompt", "prompt_hash", "findings", "failure", "time")
    whole = judgement("1", "ba", (8, 9), lengths=(3, 4), source=dict.fromkeys(keys, None))
    missing = judgement("1", "ab", None, repeat=1, source=dict.fromkeys(keys, None))
    file = write_lines(tmp_path / "j.jsonl", [whole.line(), missing.line()])
    assert read_judgements([file], NOTHING) == [whole, missing]


def test_a_review_has_its_models_by_the_file_s_name(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "x__review_llama_vicuna-13b_2023.jsonl", [review()])
    [read] = read_judgements([file], Known({"1": "coding"}, {}))
    assert read.models == read.order == ("llama", "vicuna-13b_2023")
    assert read.scores == (8.0, 9.0) and read.category == "coding" and read.lengths is None


def test_answers_tell_whose_they_are_and_how_long(tmp_path: Path) -> None:
    files = {
        model: write_lines(
            tmp_path / f"{model}.jsonl", [{"question_id": 1, "answer_id": id, "text": text}]
        )
        for model, id, text in (("alpaca", "Y", "long"), ("bard", "X", "longer"))
    }
    file = write_lines(tmp_path / "any.jsonl", [review()])
    [read] = read_judgements([file], Known({}, known_answers(files)))
    assert read.models == ("bard", "alpaca") and read.lengths == (6, 4)


def test_scores_that_were_never_put_right_are_read_from_the_text(tmp_path: Path) -> None:
    text = "First, I solve it.\nScores:\nAssistant 1: 7\nAssistant 2: 3"
    lines = [
        review(text=text, score=[-1, -1]),
        review(question_id=2, text="No idea.", score=[-1, -1]),
        review(question_id=3, text=text, score=[7, 2]),
    ]
    file = write_lines(tmp_path / "review_a_b.jsonl", lines)
    read, none, other = read_judgements([file], Known(dict.fromkeys("123", "math"), {}))
    assert read.scores == (7.0, 3.0) and none.scores is None
    assert none.source["failure"] == "unreadable"
    assert other.scores == (7.0, 2.0) and other.source["findings"] == ["unlike_its_text"]


def test_a_review_of_other_questions_is_refused(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "review_a_b.jsonl", [review(question_id=81)])
    with pytest.raises(InputError, match="judges the question 81, which is not in `questions`"):
        read_judgements([file], Known({"1": "general"}, {}))


@pytest.mark.parametrize(
    "name, lines, words",
    [
        ("a.jsonl", [review()], r"whose answers are X and Y\? Name the models' files"),
        ("review_a_b.jsonl", [review(), review()], "judges the question 1 again"),
        ("review_a_b.jsonl", [{"question_id": 1}], "has no key `text`"),
        ("review_a_b.jsonl", [review(score=[1])], "its scores are not two numbers"),
        ("review_a_b.jsonl", [review(score=["8", 9])], "its scores are not two numbers"),
        ("review_a_b.jsonl", ["x"], "is a JSON string, not an object"),
        ("review_a_b.jsonl", [], r"review_a_b.jsonl holds no judgement"),
        (
            "judgements.jsonl",
            [{"question_id": 1, "models": ["a", "c"], "order": ["b", "a"], "scores": [8, 9]}],
            "`order` and `models` name different models",
        ),
        (
            "judgements.jsonl",
            [{"question_id": 1, "models": ["a", "b"], "order": "ab", "scores": [8, 9]}],
            "`order` is no list of two: ab",
        ),
        (
            "judgements.jsonl",
            [{"question_id": 1, "models": ["a"], "order": ["a"], "scores": [8]}],
            "judges one answer, not two: `data compare` makes pairs",
        ),
    ],
)
def test_what_is_no_judgement(tmp_path: Path, name: str, lines: list[Any], words: str) -> None:
    file = write_lines(tmp_path / name, lines)
    with pytest.raises(InputError, match=words):
        read_judgements([file], NOTHING)
