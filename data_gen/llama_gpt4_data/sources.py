"""What a data set is made from: records whose instructions are asked, with or without answers."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.questions import OWN_IDS, hashed_id, question_of
from llama_gpt4.records import as_record, json_values, read_bytes, record_name


@dataclass(frozen=True, kw_only=True)
class Source:
    """One instruction of a file."""

    id: str
    """The file's own id, else a hash of instruction and input; `-1`, `-2` where it comes again."""
    instruction: str
    input: str
    output: str
    """The answer that stands there already; empty where there is none."""
    repeat: int
    """How many records before this one ask the same."""
    file: str
    index: int
    """Place in a JSON array, from 0; line of a JSONL file, from 1."""
    value: dict[str, Any]
    """The record as it stands in the file, a model's answer with a record's keys as well."""

    @property
    def origin(self) -> dict[str, Any]:
        """Where a record that is made from this one came from."""
        return {"id": self.id, "file": self.file, "index": self.index}


def read_sources(files: Sequence[str], limit: int | None) -> list[Source]:
    """The records of `files` in their order, the first `limit` of them; each as often as it is
    there: a teacher that draws its answers gives another one each time."""
    sources: list[Source] = []
    ids: Counter[str] = Counter()
    asked: Counter[tuple[str, str]] = Counter()
    for file in files:
        for index, value in json_values(read_bytes(file), file):
            if limit is not None and len(sources) >= limit:
                return sources
            value = as_record(value, record_name(file, index))
            question = question_of(value, record_name(file, index))
            own = any(key in value for key in OWN_IDS)
            pair = (question.instruction, question.input)
            id = str(question.question_id) if own else hashed_id(*pair)
            sources.append(
                Source(
                    id=f"{id}-{ids[id]}" if ids[id] else id,
                    instruction=question.instruction,
                    input=question.input,
                    output=_output(value),
                    repeat=asked[pair],
                    file=file,
                    index=index,
                    value=value,
                )
            )
            ids[id] += 1
            asked[pair] += 1
    if not sources:
        raise InputError(f"files={json.dumps(list(files), ensure_ascii=False)} hold no record")
    return sources


def _output(value: dict[str, Any]) -> str:
    holder = value["instances"][0] if "instances" in value else value
    output = holder.get("output")
    return output if isinstance(output, str) else ""
