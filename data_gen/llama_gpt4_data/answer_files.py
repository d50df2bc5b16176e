"""Files of one model's answers: `answers.jsonl` of `llama-gpt4 answer`, FastChat's answer files,
and records with an `output`, such as those of `data answer`."""

from dataclasses import dataclass
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.fields import json_type, text_of
from llama_gpt4.questions import OWN_IDS, Question, question_of
from llama_gpt4.records import json_values, read_bytes, record_name


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """One answer."""

    question_id: str
    """The file's own, as a text; else a hash of what was asked."""
    has_own_id: bool
    question: str | None
    """What was asked, where the file says so."""
    text: str
    """May be empty: models do say nothing."""
    sample: int
    """Number of the answer, where a model gave several."""
    file: str
    index: int
    value: dict[str, Any]
    """The line as it stands in the file."""

    @property
    def name(self) -> str:
        return record_name(self.file, self.index)

    @property
    def model(self) -> str | None:
        """What the file calls the model."""
        return self.value.get("model") or self.value.get("model_id")


def read_model_answers(file: str) -> list[ModelAnswer]:
    """All answers of `file` in their order."""
    values = json_values(read_bytes(file), file)
    if not values:
        raise InputError(f"{file} holds no answer")
    return [_answer(value, file, index) for index, value in values]


def _answer(value: Any, file: str, index: int) -> ModelAnswer:
    name = record_name(file, index)
    if not isinstance(value, dict):
        raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
    key = next((key for key in ("answer", "output", "text") if key in value), None)
    if key is None:
        keys = ", ".join(map(str, value)) or "none"
        raise InputError(f"{name} has no key `answer`, `output` or `text` (its keys: {keys})")
    question = _question(value, key, name)
    own = next((value[id] for id in OWN_IDS if id in value), None)
    if own is None and question is None:
        raise InputError(f"{name} has no `question_id`: nothing says what it answers")
    sample = value.get("sample", 0)
    if isinstance(sample, bool) or not isinstance(sample, int):
        raise InputError(f"{name}: `sample` is a JSON {json_type(sample)}, not a whole number")
    asked = None if question is None else question.text
    if key == "answer" and "question" in value:
        asked = text_of(value["question"], "question", name)
    return ModelAnswer(
        question_id=str(question.question_id if own is None and question else own),
        has_own_id=own is not None,
        question=asked,
        text=text_of(value[key], key, name),
        sample=sample,
        file=file,
        index=index,
        value=value,
    )


def _question(value: dict[str, Any], key: str, name: str) -> Question | None:
    """What a record with an `output` asks; other files give an id only."""
    return question_of(value, name) if key == "output" else None
