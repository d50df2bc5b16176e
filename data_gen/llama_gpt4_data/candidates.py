"""What is to be ranked: the answers to each question, from one file or several.

Read are our own `answers.jsonl` (`question`, maybe `input`, `answer`, `sample`, `model`) and
FastChat's files (`text`, `model_id`), which hold no question and one answer to each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError, require
from llama_gpt4.fields import json_type, text_of
from llama_gpt4.questions import Question, read_questions
from llama_gpt4.records import json_values, read_bytes, record_name

SHOWN_QUESTIONS = 4


@dataclass(frozen=True)
class Candidate:
    """One of the answers to a question."""

    text: str
    file: str
    """As the user named it."""
    sample: int
    model: str
    decoding: Any
    """As the file has it; None where it says nothing."""
    finish_reason: str | None


@dataclass(frozen=True)
class Candidates:
    """A question and its answers, in the order of the files and of `sample`."""

    question: Question
    answers: list[Candidate] = field(default_factory=list)

    @property
    def id(self) -> str:
        """7 and "7" are one id to whoever joins files by it."""
        return str(self.question.question_id)


def read_candidates(key: str, files: Sequence[str], questions: str | None) -> list[Candidates]:
    """The answers in `files`, which the user gave as `key`, by question in the order in which these
    come first; with a file of `questions`, all of its questions in its order and no others."""
    known = {str(q.question_id): q for q in read_questions(questions)} if questions else None
    found = {id: Candidates(question) for id, question in (known or {}).items()}
    for n, file in enumerate(files):
        require(file not in files[:n], f"{key} names {file} twice")
        for id, answers in _read_file(key, file, known).items():
            at = found.setdefault(id, Candidates(answers.question))
            if at.question.message != answers.question.message:
                raise InputError(
                    f"{file} asks another question with the question_id {id} than {key}="
                    f"{files[0]} and so on do: rank them one by one"
                )
            at.answers.extend(sorted(answers.answers, key=lambda answer: answer.sample))
    require(bool(found), f"{key}: {', '.join(files)} holds no answer")
    return list(found.values())


def require_equally_many(key: str, candidates: Sequence[Candidates]) -> int:
    """How many answers there are to each question; refuse them where the numbers differ."""
    n = max(len(each.answers) for each in candidates)
    lacking = [f"{each.id} ({len(each.answers)})" for each in candidates if len(each.answers) < n]
    if lacking:
        raise InputError(
            f"{key}: {len(lacking)} of {len(candidates)} questions have fewer than the {n} answers "
            f"of the others: {_shown(lacking)}; `llama-gpt4 answer samples={n}` completes its file"
        )
    return n


def require_same_questions(
    key: str, candidates: Sequence[Candidates], baseline: Sequence[Candidates]
) -> None:
    """Refuse a baseline, given as `key`, that does not have one answer to each question."""
    asked, answered = ({each.id: each for each in side} for side in (candidates, baseline))
    for message, ids in (
        ("does not answer all questions", asked.keys() - answered.keys()),
        ("answers questions that answers=… does not", answered.keys() - asked.keys()),
        (
            "has not one answer to each question",
            {id for id, each in answered.items() if len(each.answers) != 1},
        ),
        (
            "asks other questions under the same ids",
            {
                id
                for id in asked.keys() & answered.keys()
                if asked[id].question.message != answered[id].question.message
            },
        ),
    ):
        require(not ids, f"{key} {message}: {_shown(sorted(ids))}")


def _read_file(key: str, file: str, known: Mapping[str, Question] | None) -> dict[str, Candidates]:
    require(
        Path(file).exists(), f"{key}: {file} does not exist; `llama-gpt4 answer` writes such files"
    )
    found: dict[str, Candidates] = {}
    taken: dict[tuple[str, int], str] = {}
    for index, value in json_values(read_bytes(file), file):
        name = record_name(file, index)
        answer = _answer(value, file, name)
        question = _question(value, name, known)
        place = str(question.question_id), answer.sample
        before = taken.setdefault(place, name)
        if before != name:
            raise InputError(
                f"{name} answers question {place[0]} as sample {place[1]}, and so does {before}: "
                "number them by `sample`, or leave one out"
            )
        own = found.setdefault(place[0], Candidates(question))
        require(
            own.question.message == question.message,
            f"{name} asks another question with the question_id {place[0]} than a line before it",
        )
        own.answers.append(answer)
    return found


def _answer(value: Any, file: str, name: str) -> Candidate:
    if not isinstance(value, dict):
        raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
    is_ours = "answer" in value
    text, model = ("answer", "model") if is_ours else ("text", "model_id")
    for key in (text, model, "question_id"):
        if key not in value:
            keys = ", ".join(map(str, value)) or "none"
            raise InputError(
                f"{name} has no key `{key}` (its keys: {keys}): it is no answer of `llama-gpt4 "
                "answer` or of FastChat"
            )
    sample = value.get("sample", 0)
    if isinstance(sample, bool) or not isinstance(sample, int):
        raise InputError(f"{name}: `sample` is no whole number")
    reason = value.get("finish_reason")
    return Candidate(
        text=text_of(value[text], text, name),
        file=file,
        sample=sample,
        model=text_of(value[model], model, name),
        decoding=value.get("decoding") if is_ours else value.get("metadata"),
        finish_reason=None if reason is None else text_of(reason, "finish_reason", name),
    )


def _question(value: dict[str, Any], name: str, known: Mapping[str, Question] | None) -> Question:
    id = value["question_id"]
    if isinstance(id, bool) or not isinstance(id, str | int):
        raise InputError(f"{name}: `question_id` is neither a number nor a text")
    text = text_of(value["question"], "question", name) if "question" in value else None
    if known is not None:
        question = known.get(str(id))
        if question is None:
            raise InputError(f"{name} answers question {id}, which is not in questions=…")
        require(
            text in (None, question.text),
            f"{name} answers another question than questions=… has with the question_id {id}",
        )
        return question
    if text is None:
        raise InputError(f"{name} does not hold its question: name the file of them, questions=…")
    input = text_of(value.get("input", ""), "input", name)
    instruction = text.removesuffix(f"\n{input}") if input else text
    require(instruction != text or not input, f"{name}: `input` is not the last part of `question`")
    return Question(question_id=id, instruction=instruction, input=input)


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_QUESTIONS} more" if len(names) > SHOWN_QUESTIONS else ""
    return f"question_id {', '.join(names[:SHOWN_QUESTIONS])}{more}"
