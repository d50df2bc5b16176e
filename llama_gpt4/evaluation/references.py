"""References and the answers that are compared with them, joined by the id of the question.

A place in a file joins nothing: one answer that failed shifts all that follow. Read are our files
of answers, FastChat's, and records with `output`. A record's reference is its `label` where the
file has those, as the paper's file of 9,000 holds the reference there and GPT-4's answer in
`output`; else it is its `output`.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.fields import json_type, text_of
from llama_gpt4.questions import OWN_IDS, hashed_id, question_of
from llama_gpt4.records import json_values, read_bytes, record_name

log = logging.getLogger(__name__)

REFERENCE_KEYS = ("label", "output", "answer", "text")
ANSWER_KEYS = ("output", "answer", "text")
OF_FASTCHAT = ("answer_id", "model_id")
"""Of which FastChat's answers have one; its questions have a `text`, too."""
NAMED = 5
"""As many ids as a message names."""


@dataclass(frozen=True)
class Entry:
    """A text that a file has for a question."""

    id: str
    """The file's own, else a hash of what is asked."""
    is_own_id: bool
    hash: str | None
    """Of what is asked; None where the file does not say it in parts."""
    question: str | None
    text: str
    sample: int
    name: str
    """What messages call it."""


@dataclass(frozen=True)
class Questions:
    """What all files have in common."""

    ids: list[str]
    references: list[str]
    answers: dict[str, list[list[str]]]
    """By model, the answers to each question."""
    asked: list[str | None]
    """What is asked, where a file says it."""
    duplicates: dict[str, list[str]] = field(default_factory=dict)
    """By file, ids that it has more than once; the first counted."""
    left_out: int = 0
    """References without an answer by every model, where that is allowed."""
    unknown: dict[str, int] = field(default_factory=dict)
    """By model, answers to questions without a reference, where that is allowed."""


def read_joined(references: str, answers: Mapping[str, str], missing: str) -> Questions:
    """The questions of `references` with the answers of each model's file, in their order.

    What is not in all files is a reason to refuse them (`error`), or left out and counted (`drop`).
    """
    wanted = _entries(references, REFERENCE_KEYS)
    duplicates: dict[str, list[str]] = {}
    # Of references the first counts, whatever number it has as a sample.
    first = {id: group[0] for id, group in _by_id(wanted, references, duplicates).items()}
    found = {
        model: _by_id(_with_ids_of(wanted, _entries(file, ANSWER_KEYS)), file, duplicates)
        for model, file in answers.items()
    }
    for model, groups in found.items():
        _require_same_questions(first, groups, f"answers.{model}={answers[model]}", references)
        _require_covered(first, groups, f"answers.{model}={answers[model]}", references, missing)
    ids = [id for id in first if all(id in groups for groups in found.values())]
    if not ids:
        raise InputError(f"no question of {references} is answered in all of answers")
    for file, repeated in duplicates.items():
        log.warning("%s has %s more than once: the first counts", file, _some(repeated))
    return Questions(
        ids=ids,
        references=[first[id].text for id in ids],
        answers={m: [[e.text for e in groups[id]] for id in ids] for m, groups in found.items()},
        asked=[_asked([first[id], *(groups[id][0] for groups in found.values())]) for id in ids],
        duplicates={file: list(dict.fromkeys(ids)) for file, ids in duplicates.items()},
        left_out=len(first) - len(ids),
        unknown={m: sum(id not in first for id in groups) for m, groups in found.items()},
    )


def _asked(entries: Sequence[Entry]) -> str | None:
    return next((entry.question for entry in entries if entry.question is not None), None)


def _entries(file: str, keys: Sequence[str]) -> list[Entry]:
    values = json_values(read_bytes(file), file)
    if not values:
        raise InputError(f"{file} holds no record")
    named = [(record_name(file, index), value) for index, value in values]
    for name, value in named:
        if not isinstance(value, dict):
            raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
    labelled = ["label" in value for _, value in named]
    if "label" in keys and any(labelled) and not all(labelled):
        name = named[labelled.index(False)][0]
        raise InputError(
            f"{name} has no `label`, though others in the file have: with labels as references, "
            "each record needs one"
        )
    return [_entry(value, name, keys) for name, value in named]


def _entry(value: dict[str, Any], name: str, keys: Sequence[str]) -> Entry:
    hash = None
    if "instruction" in value:
        question = question_of(value, name)
        id: Any = question.question_id
        asked: str | None = question.text
        hash = hashed_id(question.instruction, question.input)
    elif isinstance(value.get("question_id"), int | str):
        id, asked = value["question_id"], value.get("question")
        asked = None if asked is None else text_of(asked, "question", name)
    else:
        shown = ", ".join(map(str, value)) or "none"
        raise InputError(f"{name} has no `question_id` and no `instruction` (its keys: {shown})")
    sample = value.get("sample", 0)
    return Entry(
        id=str(id),
        is_own_id=any(key in value for key in OWN_IDS),
        hash=hash,
        question=asked,
        text=_text(value, name, keys),
        sample=sample if isinstance(sample, int) else 0,
        name=name,
    )


def find_answer(value: dict[str, Any], name: str, keys: Sequence[str]) -> str | None:
    """The text under the first of `keys` that the record `name` has; the `text` of a question is
    none."""
    source = _holder(value)
    for key in keys:
        is_question = key == "text" and not any(mark in value for mark in OF_FASTCHAT)
        if key in source and not is_question:
            return text_of(source[key], key, name)
    return None


def _text(value: dict[str, Any], name: str, keys: Sequence[str]) -> str:
    found = find_answer(value, name, keys)
    if found is None:
        named = ", ".join(f"`{key}`" for key in keys[:-1])
        raise InputError(
            f"{name} holds no answer: {named} and FastChat's `text` are read (its keys: "
            f"{', '.join(map(str, _holder(value)))})"
        )
    return found


def _holder(value: dict[str, Any]) -> dict[str, Any]:
    """The record itself, or the one instance in it."""
    instances = value.get("instances")
    if isinstance(instances, list) and len(instances) == 1 and isinstance(instances[0], dict):
        return instances[0]
    return value


def _with_ids_of(wanted: Sequence[Entry], given: Sequence[Entry]) -> Sequence[Entry]:
    """`given` as they are; or, where one of the two files lacks ids and both say what is asked,
    with the ids of what asks the same in `wanted`."""
    has_own = [all(entry.is_own_id for entry in entries) for entries in (wanted, given)]
    if has_own[0] == has_own[1] or any(entry.hash is None for entry in (*wanted, *given)):
        return given
    ids: dict[str | None, str] = {}
    for entry in wanted:
        ids.setdefault(entry.hash, entry.id)
    return [replace(entry, id=ids.get(entry.hash, entry.id)) for entry in given]


def _by_id(
    entries: Sequence[Entry], file: str, duplicates: dict[str, list[str]]
) -> dict[str, list[Entry]]:
    """The entries of each question, each sample once; adds what is there again to `duplicates`."""
    groups: dict[str, dict[int, Entry]] = {}
    for entry in entries:
        before = groups.setdefault(entry.id, {}).setdefault(entry.sample, entry)
        if before is entry:
            continue
        if _says(before.question) != _says(entry.question):
            raise InputError(
                f"{entry.name} has the id {entry.id} of {before.name} and asks something else: "
                "give each question its own"
            )
        duplicates.setdefault(file, []).append(entry.id)
    return {id: list(group.values()) for id, group in groups.items()}


def _require_same_questions(
    first: Mapping[str, Entry], groups: Mapping[str, Sequence[Entry]], file: str, references: str
) -> None:
    """Refuse files whose ids mean different questions."""
    apart = [
        id
        for id, group in groups.items()
        if id in first
        and first[id].question is not None
        and group[0].question is not None
        and _says(first[id].question) != _says(group[0].question)
    ]
    if apart:
        there, here = groups[apart[0]][0].question, first[apart[0]].question
        raise InputError(
            f"{file} is not aligned with {references}: {_some(apart)} ask different things in them "
            f"({apart[0]}: {_short(there)}, but {_short(here)})"
        )


def _require_covered(
    first: Mapping[str, Entry],
    groups: Mapping[str, Sequence[Entry]],
    file: str,
    references: str,
    missing: str,
) -> None:
    lacking = [id for id in first if id not in groups]
    unknown = [id for id in groups if id not in first]
    if len(lacking) == len(first):
        raise InputError(
            f"{file} answers no question of {references}: its ids are such as {unknown[0]}, not "
            f"{lacking[0]}"
        )
    if missing == "drop":
        return
    way_out = "missing=drop scores what all files have"
    if lacking:
        raise InputError(f"{file} has no answer to {_some(lacking)} of {references}: {way_out}")
    if unknown:
        raise InputError(f"{file} answers {_some(unknown)}, not in {references}: {way_out}")


def _says(question: str | None) -> str | None:
    return None if question is None else " ".join(question.split())


def _some(ids: Iterable[str]) -> str:
    ids = list(dict.fromkeys(ids))
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{len(ids)} question{'s'[: len(ids) != 1]} ({', '.join(ids[:NAMED])}{more})"


def _short(text: str | None) -> str:
    return json.dumps((text or "")[:50], ensure_ascii=False)
