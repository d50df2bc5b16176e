"""What a judge compares: the questions, and each model's answer to each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_gpt4.errors import InputError, require
from llama_gpt4.questions import questions_of, read_questions
from llama_gpt4.records import json_values, read_bytes
from llama_gpt4_data.answer_files import ModelAnswer, read_model_answers

GENERAL = "general"
"""The category of questions that have none."""


@dataclass(frozen=True)
class JudgedQuestion:
    """A question with the answers that all models gave."""

    id: str
    text: str
    category: str
    answers: dict[str, str]
    """By model."""


@dataclass(frozen=True)
class Entered:
    """What is in the files."""

    questions: list[JudgedQuestion]
    n_left_out: int
    """Questions that not all models answer."""
    counts: dict[str, dict[str, Any]]
    """For each model, what is worth knowing of its file."""


def read_entered(
    questions: str, files: Mapping[str, str], missing: str, limit: int | None
) -> Entered:
    """The questions that all models answer, `limit` at most; `missing` says what becomes of the
    others: `drop`, or `error`."""
    texts = {str(question.question_id): question.text for question in read_questions(questions)}
    categories = read_categories(questions)
    answers, counts = {}, {}
    for model, file in files.items():
        read = read_model_answers(file)
        first = [answer for answer in read if answer.sample == 0]
        answers[model] = _by_question(first, texts, model)
        counts[model] = {
            "file": file,
            "answers": len(answers[model]),
            "empty": sum(not answer.text.strip() for answer in answers[model].values()),
            "further_samples_left_out": len(read) - len(first),
        }
    whole = [id for id in texts if all(id in by_question for by_question in answers.values())]
    if missing == "error":
        _require_whole(texts, answers, files)
    require(bool(whole), "answers: no question is answered in all files")
    judged = [
        JudgedQuestion(
            id, texts[id], categories[id], {model: answers[model][id].text for model in files}
        )
        for id in whole[:limit]
    ]
    return Entered(judged, len(texts) - len(whole), counts)


def read_categories(questions: str) -> dict[str, str]:
    """The `category` of each question of the file, by id."""
    found = {}
    for _, value in json_values(read_bytes(questions), questions):
        category = value.get("category") if isinstance(value, dict) else None
        category = category if isinstance(category, str) and category else GENERAL
        for question in questions_of(value, questions):
            found[str(question.question_id)] = category
    return found


def _by_question(
    answers: Sequence[ModelAnswer], texts: Mapping[str, str], model: str
) -> dict[str, ModelAnswer]:
    """Each answer by the id of its question; refuses what answers no question, or one twice."""
    ids = {text: id for id, text in texts.items()}
    found: dict[str, ModelAnswer] = {}
    for answer in answers:
        id = answer.question_id
        if not answer.has_own_id and answer.question in ids:
            id = ids[answer.question]
        if id not in texts:
            raise InputError(
                f"answers.{model}: {answer.name} answers the question {id}, which is not among the "
                f"{len(texts)} questions: is it the file that was answered?"
            )
        if answer.question is not None and answer.question != texts[id]:
            raise InputError(
                f"answers.{model}: {answer.name} answers another question {id} than the one in "
                "`questions`: name the file that was answered"
            )
        if id in found:
            raise InputError(
                f"answers.{model}: {answer.name} answers the question {id} again, as "
                f"{found[id].name} does: keep one"
            )
        found[id] = answer
    return found


def _require_whole(
    texts: Mapping[str, str],
    answers: Mapping[str, Mapping[str, ModelAnswer]],
    files: Mapping[str, str],
) -> None:
    for model, by_question in answers.items():
        lacking = [id for id in texts if id not in by_question]
        if lacking:
            shown = ", ".join(lacking[:5]) + (", …" if len(lacking) > 5 else "")
            raise InputError(
                f"answers.{model}: {files[model]} does not answer {len(lacking)} of {len(texts)} "
                f"questions ({shown}): answer them, or leave them out for all by missing=drop"
            )
