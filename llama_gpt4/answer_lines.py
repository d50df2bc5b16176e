"""Files of answers, one JSON object a line: what was asked, the answer, and who made it how."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.questions import Question

LINE_KEYS = {
    "question_id",
    "question",
    "answer",
    "sample",
    "model",
    "decoding",
    "finish_reason",
}
LINE_START = b'{"question_id": '
"""How each line of ours begins, so that a cut one is told from a file of somebody else."""

Asked = tuple[str, int]
"""A question's id as text, and the number of the sample."""


def answer_line(
    question: Question, sample: int, text: str, made_by: Mapping[str, Any], finish_reason: str
) -> dict[str, Any]:
    """The line of one answer."""
    # The end of `question` that was its input: whoever renders the prompt again has to know.
    input = {"input": question.input} if question.input else {}
    return {
        "question_id": question.question_id,
        "question": question.text,
        **input,
        "answer": text,
        "sample": sample,
        **made_by,
        "finish_reason": finish_reason,
    }


def asked(line: Mapping[str, Any]) -> Asked:
    """Which question and sample `line` answers."""
    return str(line["question_id"]), line["sample"]


def read_finished(
    output: Path, made_by: Mapping[str, Any], questions: Mapping[str, str]
) -> dict[Asked, str]:
    """What `output` holds: the `finish_reason` of each question and sample.

    A last line that an interruption cut is cut off the file. All lines must be `made_by` the same,
    and answer one of `questions`, texts by id.
    """
    if not output.exists():
        return {}
    try:
        content = output.read_bytes()
    except OSError as error:
        raise InputError(f"output={output} cannot be read: {error.strerror}") from None
    whole, newline, cut = content.rpartition(b"\n")
    finished = {}
    for number, text in enumerate(whole.split(b"\n") if newline else [], 1):
        line = _line(text)
        if line is None:
            raise InputError(
                f"output={output} line {number} is no answer of this program: name another file"
            )
        for key, value in made_by.items():
            if line[key] != value:
                raise InputError(
                    f"output={output} holds answers of another {key} "
                    f"({_difference(line[key], value)}): name another file"
                )
        if questions.get(str(line["question_id"])) != line["question"]:
            raise InputError(
                f"output={output} line {number} answers another question than those now asked "
                f"(question_id {line['question_id']}): name another file"
            )
        finished[asked(line)] = line["finish_reason"]
    if cut:
        if not cut.startswith(LINE_START[: len(cut)]):
            raise InputError(f"output={output} is no file of answers: name another file")
        os.truncate(output, len(whole) + len(newline))
    return finished


def append(output: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Add answers to the end of `output`, where they stay whatever happens to this process."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(output, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"output={output} cannot be written: {error.strerror}") from None


def _line(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and line.keys() >= LINE_KEYS else None


def _difference(there: Any, here: Any) -> str:
    if not (isinstance(there, dict) and isinstance(here, dict)):
        return f"{there} there, {here} here"
    return "; ".join(
        f"{key}: {there.get(key)} there, {here.get(key)} here"
        for key in there | here
        if there.get(key) != here.get(key)
    )
