"""Any data set as texts: what is asked, and the answers where the file has them.

Read are records, question files, and files of answers; of records with a `label` and an `output`,
the output is the answer.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.references import ANSWER_KEYS, find_answer
from llama_gpt4.fields import json_type, text_of
from llama_gpt4.language import language_of
from llama_gpt4.questions import question_of
from llama_gpt4.records import json_values, read_bytes, record_name

GROUP_KEYS = ("category", "motivation_app")
"""Of Vicuna's questions and of the 252."""


@dataclass(frozen=True)
class Text:
    """A record, whatever of it is there."""

    instruction: str | None
    """None in a file of answers that does not say what was asked."""
    input: str
    output: str | None
    """None in a file of questions."""
    group: str | None
    """What the file says the question is about."""


def read_texts(file: str) -> list[Text]:
    """The texts of `file`, in its order; `InputError` where a record has none."""
    texts = [
        _text(value, record_name(file, index))
        for index, value in json_values(read_bytes(file), file)
    ]
    if not texts:
        raise InputError(f"{file} holds no record")
    return texts


def language_of_texts(texts: Sequence[str]) -> str:
    """`zh` where more texts are Chinese than English, else `en`."""
    found = Counter(map(language_of, texts))
    return "zh" if found["zh"] > found["en"] else "en"


def outline(texts: Sequence[Text], count_words: Callable[[str], int]) -> dict[str, Any]:
    """How many there are of what, and how long it is."""
    instructions = [text.instruction for text in texts if text.instruction is not None]
    asked = {(text.instruction, text.input) for text in texts if text.instruction is not None}
    inputs = [text.input for text in texts if text.input]
    outputs = [text.output for text in texts if text.output is not None]
    return {
        "records": len(texts),
        "distinct_instructions": len(set(instructions)),
        "distinct_questions": len(asked),
        "without_input": len(texts) - len(inputs),
        "with_output": len(outputs),
        "empty_outputs": sum(not output.strip() for output in outputs),
        "distinct_outputs": len(set(outputs)),
        "instruction_words": _words(instructions, count_words),
        "input_words": _words(inputs, count_words),
        "output_words": _words(outputs, count_words),
        "groups": _groups(texts),
    }


def _groups(texts: Sequence[Text]) -> dict[str, Any]:
    counts = Counter(text.group for text in texts if text.group is not None)
    return {
        "distinct": len(counts),
        "distinct_ignoring_case": len({group.lower() for group in counts}),
        "counts": dict(counts.most_common()),
    }


def _words(texts: Sequence[str], count_words: Callable[[str], int]) -> dict[str, float] | None:
    if not texts:
        return None
    lengths = [count_words(text) for text in texts]
    return {"mean": sum(lengths) / len(lengths), "least": min(lengths), "most": max(lengths)}


def _text(value: Any, name: str) -> Text:
    if not isinstance(value, dict):
        raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
    output = find_answer(value, name, ANSWER_KEYS)
    instruction, input = None, ""
    if "instruction" in value or output is None:
        question = question_of(value, name)
        instruction, input = question.instruction, question.input
    elif "question" in value:
        instruction = text_of(value["question"], "question", name)
    groups = [value[key] for key in GROUP_KEYS if isinstance(value.get(key), str)]
    return Text(instruction, input, output, groups[0] if groups else None)
