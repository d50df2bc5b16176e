"""Records: the JSON that people write, checked at the door.

A file is a JSON array of objects, or JSONL with one object a line; its first character says which.
It may be compressed, and rows of Parquet or Arrow are records as well: see `containers`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from llama_gpt4.containers import HUB, decompressed, folder_content, hub_content, table_rows
from llama_gpt4.conversations import KEYS, Exchange, exchanges_of
from llama_gpt4.errors import InputError
from llama_gpt4.fields import json_type, text_of, without_placeholder

SAMPLES = ("en", "zh", "comparisons_en", "comparisons_zh")
"""What is shipped in the package, read as `sample:en` and so on: records, and comparisons."""

OF_RECORDS = frozenset({"instruction", "text", "turns", "answer", "question_id", *KEYS})
"""Keys of which every line of a file of records, questions, answers or judgements has one."""


@dataclass(frozen=True)
class Record:
    """One instruction, what it is about, and the answer to learn; of a conversation the first."""

    instruction: str
    input: str
    """Empty where there is none."""
    output: str
    """May be empty: who trains on records drops those and counts them."""
    file: str
    """As the user named it."""
    index: int
    """Place in a JSON array, from 0; line of a JSONL file, from 1."""
    is_cut: bool = False
    """Whether the output broke off at a limit, so that its end is not one to be learned."""
    placeholder: str = ""
    """What the file has for an input that only says that there is none, such as `<noinput>`."""
    later: tuple[Exchange, ...] = ()
    """What follows in a conversation; all its answers are to be learned."""

    @property
    def name(self) -> str:
        return record_name(self.file, self.index)

    @cached_property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All that is asked and answered."""
        return (Exchange(self.instruction, self.input, self.output), *self.later)

    @property
    def prompt(self) -> tuple[str, ...]:
        """All texts before the last answer."""
        if not self.later:
            return self.instruction, self.input
        return tuple(text for exchange in self.exchanges for text in exchange)[:-1]

    @property
    def answered(self) -> str:
        """All answers, as one text."""
        if not self.later:
            return self.output
        return "\n".join(exchange.output for exchange in self.exchanges)


def record_name(file: str, index: int) -> str:
    """What messages call a record."""
    return f"{file} record {index}"


def is_path(file: str) -> bool:
    """Whether `file` is one of this machine: neither `sample:…` nor `hub:…`."""
    return not file.startswith(("sample:", HUB))


def read_records(file: str) -> list[Record]:
    """The records of `file`, a path or `sample:en` or `sample:zh`, in their order."""
    return parse_records(read_bytes(file), file)


def read_bytes(file: str) -> bytes:
    """What `file` holds, decompressed; an `InputError` where it cannot be read."""
    if file.startswith("sample:"):
        language = file.removeprefix("sample:")
        if language not in SAMPLES:
            raise InputError(
                f"{file} is not a shipped sample: there are "
                f"{', '.join(f'sample:{name}' for name in SAMPLES)}"
            )
        return (package_files("llama_gpt4") / "sample" / f"{language}.json").read_bytes()
    if file.startswith(HUB):
        return hub_content(file)
    path = Path(file)
    if path.is_dir():
        return folder_content(path, file)
    try:
        return decompressed(path.read_bytes(), file)
    except FileNotFoundError:
        raise InputError(f"{file} does not exist") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def parse_records(content: bytes, file: str) -> list[Record]:
    """The records in `content`; `file` is what messages call it. An `InputError` says what is wrong
    with the first of those that are none, and how many there are."""
    values = json_values(content, file)
    if not values:
        raise InputError(f"{file} holds no record")
    records: list[Record] = []
    first_fault, n_faults = "", 0
    for index, value in values:
        try:
            records.append(_record(value, file, index))
        except InputError as fault:
            first_fault, n_faults = first_fault or str(fault), n_faults + 1
    if n_faults > 1:
        first_fault += f"; {n_faults:,} of {len(values):,} records cannot be used as they are"
    if n_faults:
        raise InputError(first_fault)
    return records


def json_values(content: bytes, file: str) -> list[tuple[int, Any]]:
    """The values of a JSON array, or the rows of a table, with their places from 0; those of JSONL
    with their lines from 1."""
    rows = table_rows(content, file)
    if rows is not None:
        return list(enumerate(rows))
    text = decoded(content, file)
    if text.lstrip().startswith("["):
        return _array(text, file)
    _refuse_one_object(text, file)
    return _lines(text, file)


def decoded(content: bytes, file: str) -> str:
    """The text of `content`, with or without a byte order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file} line {line} is not UTF-8: save the file as UTF-8") from None


def _refuse_one_object(text: str, file: str) -> None:
    """One object around all records, or over several lines, is no JSONL."""
    text = text.strip()
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return  # whoever reads the lines says where it breaks off
    if not isinstance(value, dict) or end < len(text):
        return
    is_record = not OF_RECORDS.isdisjoint(value)
    holds_more = not is_record and any(isinstance(inner, list | dict) for inner in value.values())
    if not holds_more and "\n" not in text:
        return
    lists = [key for key, inner in value.items() if isinstance(inner, list)]
    advice = "write records as a list, [{…}, {…}]"
    if lists and not is_record:
        advice = f"save the list under `{lists[0]}` as a file of its own"
    keys = ", ".join(list(value)[:4]) + (", …" if len(value) > 4 else "")
    raise InputError(
        f"{file} is one JSON object (its keys: {keys}), not a list of records: {advice}"
    )


def _array(text: str, file: str) -> list[tuple[int, Any]]:
    try:
        return list(enumerate(json.loads(text)))
    except RecursionError:
        raise InputError(f"{file} is nested too deeply to hold records") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{file} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None


def _lines(text: str, file: str) -> list[tuple[int, Any]]:
    values = []
    # Not splitlines(): U+2028 and its like are legal within a JSON string.
    for line, entry in enumerate(text.split("\n"), start=1):
        if not entry.strip():
            continue
        try:
            values.append((line, json.loads(entry)))
        except RecursionError:
            raise InputError(f"{file} line {line} is nested too deeply to be a record") from None
        except json.JSONDecodeError as error:
            raise InputError(
                f"{file} is neither a JSON array nor JSONL: {error.msg} "
                f"(line {line}, column {error.colno})"
            ) from None
    return values


def _record(value: Any, file: str, index: int) -> Record:
    name = record_name(file, index)
    if not isinstance(value, dict):
        raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
    if "instruction" not in value and not value.keys().isdisjoint(KEYS):
        return _conversation(value, file, index)
    # Of a teacher's cut answers `data answer` has a policy; nobody else looks at a model's own.
    is_cut = _is_answer(value) and value.get("finish_reason") == "length"
    value = as_record(value, name)
    for key in ("instruction", "output"):
        if key not in value:
            keys = ", ".join(map(str, value)) or "none"
            raise InputError(f"{name} has no key `{key}` (its keys: {keys})")
    instruction = text_of(value["instruction"], "instruction", name)
    input = value.get("input")
    input = "" if input is None else text_of(input, "input", name)
    output = text_of(value["output"], "output", name)
    if not instruction.strip():
        raise InputError(f"{name}: `instruction` is empty")
    real_input = without_placeholder(input)
    return Record(
        instruction=instruction,
        input=real_input,
        output=output,
        file=file,
        index=index,
        is_cut=is_cut,
        placeholder="" if real_input else input.strip(),
    )


def _conversation(value: dict[str, Any], file: str, index: int) -> Record:
    first, *later = exchanges_of(value, record_name(file, index))
    return Record(*first, file=file, index=index, later=tuple(later))


def _is_answer(value: dict[str, Any]) -> bool:
    return "instruction" not in value and value.keys() >= {"question", "answer"}


def as_record(value: Any, name: str) -> Any:
    """A line of `llama-gpt4 answer` or `rank` with the keys of a record as well; its question ends
    in its input. Anything else as it is."""
    if not isinstance(value, dict) or not _is_answer(value):
        return value
    question, input = text_of(value["question"], "question", name), value.get("input") or ""
    return value | {
        "instruction": question.removesuffix(f"\n{input}") if input else question,
        "input": input,
        "output": value["answer"],
    }


def origins(value: Any) -> Iterator[Mapping[str, Any]]:
    """All provenance of model output in records, wherever it stands in them."""
    if isinstance(value, Mapping):
        if "prompt_sha256" in value:
            yield value
        else:
            for inner in value.values():
                yield from origins(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from origins(inner)
