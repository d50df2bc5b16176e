"""Files of questions: Alpaca's records, Vicuna's questions, the 252 user-oriented instructions."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.records import (
    json_type,
    json_values,
    read_bytes,
    record_name,
    text_of,
    without_placeholder,
)

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


def read_questions(file: str) -> list[Question]:
    """The questions of `file`, a path or `sample:en` or `sample:zh`, in their order, each once.

    A question is a record with `instruction` and maybe `input` (Alpaca), with `instruction` and
    `instances` of exactly one `input` (Self-Instruct), or with `text` (Vicuna).
    """
    if not file.startswith("sample:") and not Path(file).exists():
        raise InputError(f"questions={file} does not exist")
    questions: list[Question] = []
    first: dict[str, str] = {}
    for index, value in json_values(read_bytes(file), file):
        name = record_name(file, index)
        question = question_of(value, name)
        # 7 and "7" are one id to whoever joins files by it.
        before = first.setdefault(str(question.question_id), name)
        if before == name:
            questions.append(question)
        elif any(key in value for key in OWN_IDS):
            raise InputError(
                f"{name} has the question_id {question.question_id!r} of {before}: give it another"
            )
        else:
            log.warning("%s asks the same as %s: it is answered once", name, before)
    if not questions:
        raise InputError(f"{file} holds no question")
    return questions


def hashed_id(instruction: str, input: str) -> str:
    """The `question_id` of a question that has none of its own."""
    asked = json.dumps([instruction, input], ensure_ascii=False)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def question_of(value: Any, name: str) -> Question:
    """What the JSON `value` asks; `name` is what messages call it."""
    if not isinstance(value, dict):
        raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
    if "instruction" in value:
        key, source, where = "instruction", value, name
        if "instances" in value:
            source, where = _only_instance(value, name), f"{name}: its instance"
        input = source.get("input")
        input = without_placeholder(text_of(input, "input", where)) if input is not None else ""
    elif "text" in value:
        key, input = "text", ""
    else:
        keys = ", ".join(map(str, value)) or "none"
        raise InputError(f"{name} has no key `instruction` or `text` (its keys: {keys})")
    instruction = text_of(value[key], key, name)
    if not instruction.strip():
        raise InputError(f"{name}: `{key}` is empty")
    own = next((_own_id(value, key, name) for key in OWN_IDS if key in value), None)
    return Question(
        question_id=hashed_id(instruction, input) if own is None else own,
        instruction=instruction,
        input=input,
    )


def _only_instance(value: dict[str, Any], name: str) -> dict[str, Any]:
    instances = value["instances"]
    if not isinstance(instances, list) or len(instances) != 1 or not isinstance(instances[0], dict):
        raise InputError(f"{name}: `instances` is not a list of exactly one object")
    return instances[0]


def _own_id(value: dict[str, Any], key: str, name: str) -> str | int:
    own = value[key]
    if isinstance(own, bool) or not isinstance(own, str | int) or own == "":
        raise InputError(f"{name}: `{key}` is neither a number nor a text: {json.dumps(own)}")
    return own if isinstance(own, int) else text_of(own, key, name)
