"""Files of answers as people have them, and what is said about those that cannot be ranked."""

import os
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.candidates import (
    Candidates,
    read_candidates,
    require_equally_many,
    require_same_questions,
)

from llama_gpt4.errors import InputError

from .ranking import candidates, line, write_answers, write_lines

REAL = os.environ.get("LLAMA_GPT4_REAL_DATA")
FASTCHAT = {
    "answer_id": "x",
    "question_id": 1,
    "model_id": "vicuna",
    "text": "Yes.",
    "metadata": {},
}


def read(*files: Path, questions: Path | None = None) -> list[Candidates]:
    return read_candidates(
        "answers", [str(f) for f in files], str(questions) if questions else None
    )


def test_samples_are_in_their_order_whatever_that_of_the_lines(tmp_path: Path) -> None:
    lines = [line(q, k, f"{q}{k}") for k in (2, 0, 1) for q in ("b", "a")]
    found = read(write_lines(tmp_path / "a.jsonl", *lines))
    assert [(each.id, [a.text for a in each.answers]) for each in found] == [
        ("b", ["b0", "b1", "b2"]),
        ("a", ["a0", "a1", "a2"]),
    ]
    assert require_equally_many("answers", found) == 3


def test_the_input_is_told_from_the_instruction(tmp_path: Path) -> None:
    asked = {"question": "Sum up.\nOne\nTwo", "input": "One\nTwo"}
    [found] = read(write_lines(tmp_path / "a.jsonl", line(1, 0, "Three", **asked)))
    assert (found.question.instruction, found.question.input) == ("Sum up.", "One\nTwo")
    assert found.question.text == asked["question"]


def test_files_are_joined_by_id(tmp_path: Path) -> None:
    """As text: 7 and "7" are one question; the samples of another file are other answers."""
    one = write_lines(tmp_path / "1.jsonl", line(7, 0, "a"), line(7, 1, "b"))
    other = write_lines(tmp_path / "2.jsonl", line("7", 0, "c"))
    [found] = read(one, other)
    assert [(a.text, Path(a.file).name, a.sample) for a in found.answers] == [
        ("a", "1.jsonl", 0),
        ("b", "1.jsonl", 1),
        ("c", "2.jsonl", 0),
    ]


def test_answers_of_fastchat_need_the_questions(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", FASTCHAT)
    with pytest.raises(
        InputError, match=r"record 1 does not hold its question: name .*questions=…"
    ):
        read(file)
    questions = write_lines(tmp_path / "q.jsonl", {"question_id": 1, "text": "Why?"})
    [found] = read(file, questions=questions)
    assert found.question.text == "Why?"
    [answer] = found.answers
    assert (answer.text, answer.model, answer.sample, answer.decoding) == ("Yes.", "vicuna", 0, {})


@pytest.mark.skipif(REAL is None, reason="LLAMA_GPT4_REAL_DATA is not set")
def test_the_published_answers_are_seven_to_each_of_eighty_questions() -> None:
    folder = Path(str(REAL))
    files = sorted((folder / "vicuna" / "answers").glob("*.jsonl"))
    found = read(*files, questions=folder / "vicuna_question_80.jsonl")
    assert len(found) == 80 and require_equally_many("answers", found) == 7


def test_questions_without_answers_are_missing_not_forgotten(tmp_path: Path) -> None:
    asked = [{"question_id": q, "text": f"Question {q}?"} for q in range(6)]
    questions = write_lines(tmp_path / "q.jsonl", *asked)
    found = read(write_answers(tmp_path / "a.jsonl", 4), questions=questions)
    with pytest.raises(InputError, match=r"2 of 6 questions have fewer than the 3 answers of the "
                       r"others: question_id 4 \(0\), 5 \(0\);"):  # fmt: skip
        require_equally_many("answers", found)


def test_unequal_numbers_of_answers_are_named() -> None:
    found = candidates(*[["a", "b"]] * 2, *[["a"]] * 6)
    with pytest.raises(InputError, match=r"6 of 8 questions .* 2 \(1\), 3 \(1\), 4 \(1\), 5 \(1\) "
                       r"and 2 more; `llama-gpt4 answer samples=2` completes"):  # fmt: skip
        require_equally_many("answers", found)


BAD: dict[str, tuple[list[Any], str]] = {
    "empty": ([], "holds no answer"),
    "number": ([1, 2], r"record 1 is a JSON number, not an object"),
    "question": ([{"question_id": 1, "text": "Why?"}], r"no key `model_id` .*it is no answer of"),
    "records": ([{"instruction": "a", "output": "b"}], r"no key `text` \(its keys: instruction, o"),
    "no id": ([{"answer": "a", "model": "m"}], "has no key `question_id`"),
    "id": (
        [{**line(1, 0, "a"), "question_id": [1]}],
        "`question_id` is neither a number nor a text",
    ),
    "sample": ([{**line(1, 0, "a"), "sample": "0"}], "`sample` is no whole number"),
    "answer": ([{**line(1, 0, "a"), "answer": None}], "`answer` is a JSON null, not a string"),
    "input": ([line(1, 0, "a", input="x")], "`input` is not the last part of `question`"),
    "twice": (
        [line(1, 0, "a"), line(2, 0, "a"), line(1, 0, "b")],
        r"record 3 answers question 1 as sample 0, and so does .*record 1: number",
    ),
    "fastchat twice": ([line(1, 0, "a"), line("1", 0, "a")], "record 2 answers question 1 as"),
    "two questions": (
        [line(1, 0, "a"), line(1, 1, "a", question="Who?")],
        "record 2 asks another question with the question_id 1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_line(tmp_path: Path, name: str) -> None:
    lines, message = BAD[name]
    with pytest.raises(InputError, match=message) as caught:
        read(write_lines(tmp_path / "a.jsonl", *lines))
    assert "\n" not in str(caught.value)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    one = write_answers(tmp_path / "1.jsonl")
    with pytest.raises(InputError, match=r"names .*1.jsonl twice"):
        read(one, one)
    other = write_lines(tmp_path / "2.jsonl", line(1, 0, "a", question="Who?"))
    with pytest.raises(InputError, match=r"2.jsonl asks another question with the question_id 1 "):
        read(one, other)
    with pytest.raises(InputError, match=r"answers: .*none.jsonl does not exist; `llama-gpt4 answ"):
        read(tmp_path / "none.jsonl")
    questions = write_lines(tmp_path / "q.jsonl", {"question_id": 1, "text": "Who?"})
    with pytest.raises(InputError, match="answers question 0, which is not in questions="):
        read(one, questions=questions)
    with pytest.raises(InputError, match=r"another question than questions=… has with the .* 1$"):
        read(write_lines(tmp_path / "3.jsonl", line(1, 0, "a")), questions=questions)


def test_a_baseline_has_one_answer_to_each_question() -> None:
    asked = candidates(["a", "b"], ["a", "b"])
    require_same_questions("baseline=b", asked, candidates(["c"], ["c"])[::-1])
    for baseline, message in (
        (candidates(["c"]), "baseline=b does not answer all questions: question_id 1"),
        (candidates(["c"], ["c"], ["c"]), "answers questions that answers=… does not: q.* 2"),
        (candidates(["c"], ["c", "d"]), "has not one answer to each question: question_id 1"),
    ):
        with pytest.raises(InputError, match=message):
            require_same_questions("baseline=b", asked, baseline)
    other = candidates(["c"], ["c"])
    object.__setattr__(other[1].question, "instruction", "Who?")
    with pytest.raises(InputError, match="asks other questions under the same ids: question_id 1"):
        require_same_questions("baseline=b", asked, other)
