"""Files of questions: Alpaca's records, Vicuna's questions, the 252 user-oriented instructions,
Unnatural Instructions."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.fields import json_type, text_of, without_placeholder
from llama_gpt4.records import is_path, json_values, read_bytes, record_name

log = logging.getLogger(__name__)

OWN_IDS = ("question_id", "id")
"""Where a record may keep an id of its own; the first that is there counts."""


@dataclass(frozen=True)
class Question:
    """What a model is asked."""

    question_id: str | int
    """The file's own, as it stands there; else a hash of `instruction` and `input`."""
    instruction: str
    input: str
    """Empty where there is none."""

    @property
    def text(self) -> str:
        """What the user asked, in one text."""
        return f"{self.instruction}\n{self.input}" if self.input else self.instruction

    @property
    def message(self) -> dict[str, str]:
        """The first turn of a chat."""
        message = {"role": "user", "content": self.instruction}
        return message | {"input": self.input} if self.input else message


def read_questions(file: str, key: str = "questions") -> list[Question]:
    """The questions of `file`, a path or `sample:en` or `sample:zh`, in their order, each once;
    `key` is what the user calls it.

    A question is a record with `instruction` and maybe `input` (Alpaca), each of the `instances` of
    a record with `instruction` (Self-Instruct, Unnatural Instructions), or a record with `text` or
    one of `turns` (Vicuna).
    """
    if is_path(file) and not Path(file).exists():
        raise InputError(f"{key}={file} does not exist")
    questions: list[Question] = []
    first: dict[str, str] = {}
    repeated: list[tuple[str, str]] = []
    for index, value in json_values(read_bytes(file), file):
        name = record_name(file, index)
        for question in questions_of(value, name):
            # 7 and "7" are one id to whoever joins files by it.
            before = first.get(str(question.question_id))
            if before is None:
                first[str(question.question_id)] = name
                questions.append(question)
            elif any(key in value for key in OWN_IDS):
                raise InputError(
                    f"{name} has the question_id {question.question_id!r} of {before}: "
                    "give it another"
                )
            else:
                repeated.append((name, before))
    if not questions:
        raise InputError(f"{file} holds no question")
    if repeated:
        log.warning(
            "%s asks the same as %s%s: what comes again counts once",
            *repeated[0],
            f", and {len(repeated) - 1:,} more such" if len(repeated) > 1 else "",
        )
    return questions


def hashed_id(instruction: str, input: str) -> str:
    """The `question_id` of a question that has none of its own."""
    asked = json.dumps([instruction, input], ensure_ascii=False)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def questions_of(value: Any, name: str) -> list[Question]:
    """What the JSON `value` asks, one question for each of its instances; `name` is what messages
    call it."""
    if not isinstance(value, dict):
        raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
    key, instruction = _instruction(value, name)
    if not instruction.strip():
        raise InputError(f"{name}: `{key}` is empty")
    inputs = _inputs(value, name) if key == "instruction" else [""]
    own = next((_own_id(value, key, name) for key in OWN_IDS if key in value), None)
    if own is not None and len(inputs) > 1:
        raise InputError(
            f"{name}: the id {own!r} names {len(inputs)} `instances`: make them records of their "
            "own, or drop the id"
        )
    return [
        Question(
            question_id=hashed_id(instruction, input) if own is None else own,
            instruction=instruction,
            input=input,
        )
        for input in inputs
    ]


def question_of(value: Any, name: str) -> Question:
    """What the JSON `value` asks, where that has to be a single question."""
    questions = questions_of(value, name)
    if len(questions) != 1:
        raise InputError(f"{name}: `instances` is not a list of exactly one object")
    return questions[0]


def _instruction(value: dict[str, Any], name: str) -> tuple[str, str]:
    """The key that holds what is to be done, and its text."""
    for key in ("instruction", "text"):
        if key in value:
            return key, text_of(value[key], key, name)
    if "turns" in value:
        turns = value["turns"]
        if not isinstance(turns, list) or len(turns) != 1:
            raise InputError(f"{name}: `turns` is not a list of one text, and only one is answered")
        return "turns", text_of(turns[0], "turns", name)
    keys = ", ".join(map(str, value)) or "none"
    raise InputError(f"{name} has no key `instruction`, `text` or `turns` (its keys: {keys})")


def _inputs(value: dict[str, Any], name: str) -> list[str]:
    """The inputs of a record with `instruction`: its own, or those of its instances."""
    if "instances" not in value:
        return [_input(value, name)]
    instances = value["instances"]
    if not isinstance(instances, list) or not instances:
        raise InputError(f"{name}: `instances` is not a list of objects")
    for instance in instances:
        if not isinstance(instance, dict):
            raise InputError(f"{name}: one of its `instances` is a JSON {json_type(instance)}")
    return [_input(instance, f"{name}: its instance") for instance in instances]


def _input(value: dict[str, Any], name: str) -> str:
    input = value.get("input")
    return "" if input is None else without_placeholder(text_of(input, "input", name))


def _own_id(value: dict[str, Any], key: str, name: str) -> str | int:
    own = value[key]
    if isinstance(own, bool) or not isinstance(own, str | int) or own == "":
        raise InputError(f"{name}: `{key}` is neither a number nor a text: {json.dumps(own)}")
    return own if isinstance(own, int) else text_of(own, key, name)
