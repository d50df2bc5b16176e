"""Judgements as files hold them: `judgements.jsonl`, and the reviews that FastChat published."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.fields import json_type, text_of
from llama_gpt4.records import json_values, read_bytes, record_name
from llama_gpt4_data.answer_files import read_model_answers
from llama_gpt4_data.judge_answers import GENERAL
from llama_gpt4_data.judge_prompts import prompt_for
from llama_gpt4_data.judge_scores import Scores, read_scores

_REVIEW_NAME = re.compile(r"review_([^_]+)_(.+)\.jsonl?$")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a judge said of two answers."""

    question_id: str
    category: str
    models: tuple[str, str]
    """The pair, the same for both orders."""
    order: tuple[str, str]
    """As the judge saw them."""
    repeat: int
    scores: Scores | None
    """In the order of `order`; None: missing."""
    lengths: tuple[int, int] | None
    """Characters of the answers in the order of `order`; None: not known."""
    source: dict[str, Any]
    """What else stands in the line: the judge's words, and where they come from."""

    def line(self) -> dict[str, Any]:
        return {
            "question_id": self.question_id,
            "category": self.category,
            "models": list(self.models),
            "order": list(self.order),
            "repeat": self.repeat,
            "scores": None if self.scores is None else list(self.scores),
            "lengths": None if self.lengths is None else list(self.lengths),
            **self.source,
        }


@dataclass(frozen=True)
class Known:
    """What is known about judgements from other files."""

    categories: Mapping[str, str]
    """By question; empty where no file of questions was named."""
    answers: Mapping[str, tuple[str, int]]
    """By the `answer_id` of FastChat: the model, and the answer's length in characters."""


def known_answers(files: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Models and lengths by the answers' own ids, of `files` of FastChat's by model."""
    found = {}
    for model, file in files.items():
        for answer in read_model_answers(file):
            if isinstance(id := answer.value.get("answer_id"), str):
                found[id] = model, len(answer.text)
    return found


def read_judgements(files: Sequence[str], known: Known) -> list[Judgement]:
    """The judgements in `files`, each question once per order and repeat."""
    found: list[Judgement] = []
    first: dict[tuple[Any, ...], str] = {}
    for file in files:
        values = json_values(read_bytes(file), file)
        if not values:
            raise InputError(f"{file} holds no judgement")
        for index, value in values:
            name = record_name(file, index)
            if not isinstance(value, dict):
                raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
            is_ours = "order" in value and "scores" in value
            judgement = _ours(value, name, known) if is_ours else _review(value, file, name, known)
            place = judgement.question_id, judgement.order, judgement.repeat
            if place in first:
                raise InputError(
                    f"{name} judges the question {judgement.question_id} again, as {first[place]} "
                    "does: name one of the files, or keep one of the lines"
                )
            first[place] = name
            found.append(judgement)
    return found


def _ours(value: dict[str, Any], name: str, known: Known) -> Judgement:
    if isinstance(value["order"], list) and len(value["order"]) == 1:
        raise InputError(
            f"{name} judges one answer, not two: `data compare` makes pairs of ratings"
        )
    order = _two(value, "order", str, name)
    models = _two(value, "models", str, name)
    if {*models} != {*order}:
        raise InputError(f"{name}: `order` and `models` name different models")
    id = _question_id(value, name, known)
    keys = ("text", "judge", "prompt", "prompt_hash", "findings", "failure", "time")
    return Judgement(
        question_id=id,
        category=known.categories.get(id) or value.get("category") or GENERAL,
        models=models,
        order=order,
        repeat=value.get("repeat", 0),
        scores=_scores(value["scores"], name),
        lengths=None if value.get("lengths") is None else _two(value, "lengths", int, name),
        source={key: value.get(key) for key in keys},
    )


def _review(value: dict[str, Any], file: str, name: str, known: Known) -> Judgement:
    """A line of FastChat's. Its `score` counts: what its program could not read was put right by
    hand, and is negative where it was not; then the text is read here."""
    id = _question_id(value, name, known)
    text = text_of(_required(value, "text", name), "text", name)
    category = known.categories.get(id, GENERAL)
    prompts = [prompt_for(category)] if known.categories else ["general", "math"]
    read = next((s for p in prompts if (s := read_scores(text, p)) is not None), None)
    given = _scores(value.get("score"), name)
    findings = ["unlike_its_text"] if given and read and given != read else []
    models, lengths = _models(value, file, name, known)
    judge = value.get("reviewer_id")  # in some files a place in a list of reviewers
    return Judgement(
        question_id=id,
        category=category,
        models=models,
        order=models,
        repeat=0,
        scores=given or read,
        lengths=lengths,
        source={
            "text": text,
            "judge": f"reviewer {judge}" if isinstance(judge, int) else judge,
            "prompt": prompt_for(category),
            "prompt_hash": None,
            "findings": findings,
            "failure": None if given or read else "unreadable",
            "time": None,
        },
    )


def _models(
    value: dict[str, Any], file: str, name: str, known: Known
) -> tuple[tuple[str, str], tuple[int, int] | None]:
    ids = [_required(value, key, name) for key in ("answer1_id", "answer2_id")]
    if known.answers and all(id in known.answers for id in ids):
        (first, length_1), (second, length_2) = (known.answers[id] for id in ids)
        return (first, second), (length_1, length_2)
    named = _REVIEW_NAME.search(Path(file).name)
    if named is None:
        raise InputError(
            f"{name}: whose answers are {ids[0]} and {ids[1]}? Name the models' files in "
            "answers={…}, or call the file review_<first>_<second>.jsonl"
        )
    return (named[1], named[2]), None


def _scores(value: Any, name: str) -> Scores | None:
    if value is None:
        return None
    is_pair = isinstance(value, list) and len(value) == 2
    if not is_pair or not all(type(score) in (int, float) for score in value):
        raise InputError(f"{name}: its scores are not two numbers: {value}")
    return None if min(value) < 0 else (float(value[0]), float(value[1]))


def _question_id(value: dict[str, Any], name: str, known: Known) -> str:
    id = str(_required(value, "question_id", name))
    if known.categories and id not in known.categories:
        raise InputError(f"{name} judges the question {id}, which is not in `questions`")
    return id


def _two(value: dict[str, Any], key: str, kind: type, name: str) -> tuple[Any, Any]:
    found = _required(value, key, name)
    if not isinstance(found, list) or [type(each) for each in found] != [kind, kind]:
        raise InputError(f"{name}: `{key}` is no list of two: {found}")
    return found[0], found[1]


def _required(value: dict[str, Any], key: str, name: str) -> Any:
    if key not in value:
        keys = ", ".join(map(str, value)) or "none"
        raise InputError(f"{name} has no key `{key}` (its keys: {keys})")
    return value[key]
