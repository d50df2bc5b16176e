"""Records: the JSON that people write, checked at the door.

A file is a JSON array of objects, or JSONL with one object a line: see `blocks`. It may be
compressed, and rows of Parquet or Arrow are records as well: see `containers`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, NamedTuple

from llama_gpt4.blocks import Block, Values, blocks
from llama_gpt4.containers import HUB, file_pieces, folder_pieces, hub_pieces
from llama_gpt4.conversations import (
    KEYS,
    Exchange,
    exchanges_of,
    history_of,
    require_no_system,
)
from llama_gpt4.errors import InputError
from llama_gpt4.fields import json_type, text_of, without_placeholder

SAMPLES = ("en", "zh", "comparisons_en", "comparisons_zh")
"""What is shipped in the package, read as `sample:en` and so on: records, and comparisons."""


class Fault(NamedTuple):
    """A value that is no record."""

    place: int
    """A record's `index`."""
    message: str


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
    return _whole(blocks_of(file), file)


def readable_records(file: str, *, broken: str = "drop") -> Iterator[Record]:
    """The same one after the other. What is no record is left out, for others to count it, or ends
    this, as the policy for what is `broken` says."""
    n = 0
    for block in blocks_of(file):
        records, faults = records_of(block)
        n += len(records) + len(faults)
        if faults and broken == "error":
            raise refusal(faults, n)
        yield from records
    if not n:
        raise no_record(file)


def parse_records(content: bytes, file: str) -> list[Record]:
    """The records in `content`; `file` is what messages call it. An `InputError` says what is wrong
    with the first of those that are none, and how many there are."""
    return _whole(blocks([content], file), file)


def _whole(read: Iterable[Block], file: str) -> list[Record]:
    records: list[Record] = []
    faults: list[Fault] = []
    for block in read:
        of_block, found = records_of(block)
        records += of_block
        faults += found
    if not records and not faults:
        raise no_record(file)
    if faults:
        raise InputError(faults_described(faults, f"{len(records) + len(faults):,}"))
    return records


def records_of(block: Block) -> tuple[list[Record], list[Fault]]:
    """The records of `block`, and what is wrong with those of its values that are none."""
    records: list[Record] = []
    faults: list[Fault] = []
    for index, value in block.parsed():
        try:
            if isinstance(value, InputError):
                raise value
            records.append(_record(value, block.file, index))
        except InputError as fault:
            faults.append(Fault(index, str(fault)))
    return records, faults


def faults_described(faults: Sequence[Fault], of: str) -> str:
    """The first of the `faults`, and how many there are `of` so many records."""
    more = f"; {len(faults):,} of {of} records cannot be used as they are" * (len(faults) > 1)
    return f"{faults[0].message}{more}"


def no_record(file: str) -> InputError:
    return InputError(f"{file} holds no record")


def refusal(faults: Sequence[Fault], n_read: int) -> InputError:
    """What `data.policy.broken_record=error` says to `faults` among so many records of a file."""
    described = faults_described(faults, f"the first {n_read:,}")
    return InputError(f"{described}, or say data.policy.broken_record=drop")


def blocks_of(file: str) -> Iterator[Block]:
    """The values of `file`, some at a time."""
    return blocks(pieces_of(file), file)


def json_values(content: bytes, file: str) -> Values:
    """The values of a JSON array, or the rows of a table, with their places from 0; those of JSONL
    with their lines from 1."""
    return [value for block in blocks([content], file) for value in block.values()]


def read_bytes(file: str) -> bytes:
    """What `file` holds, decompressed; an `InputError` where it cannot be read."""
    return b"".join(pieces_of(file))


def digest_of(file: str) -> str:
    """The SHA-256 of what `file` holds."""
    whole = hashlib.sha256()
    for piece in pieces_of(file):
        whole.update(piece)
    return whole.hexdigest()


def pieces_of(file: str) -> Iterator[bytes]:
    """What `file` holds, decompressed, some at a time; an `InputError` where it cannot be read."""
    path = Path(file)
    try:
        if file.startswith("sample:"):
            yield _sample(file)
        elif file.startswith(HUB):
            yield from hub_pieces(file)
        elif path.is_dir():
            yield from folder_pieces(path, file)
        else:
            yield from file_pieces(path, file)
    except FileNotFoundError:
        raise InputError(f"{file} does not exist") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def _sample(file: str) -> bytes:
    language = file.removeprefix("sample:")
    if language not in SAMPLES:
        raise InputError(
            f"{file} is not a shipped sample: there are "
            f"{', '.join(f'sample:{name}' for name in SAMPLES)}"
        )
    return (package_files("llama_gpt4") / "sample" / f"{language}.json").read_bytes()


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
    require_no_system(text_of(value.get("system") or "", "system", name), name)
    real_input = without_placeholder(input)
    first, *later = *history_of(value, name), Exchange(instruction, real_input, output)
    return Record(
        *first,
        file=file,
        index=index,
        is_cut=is_cut,
        placeholder="" if real_input else input.strip(),
        later=tuple(later),
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
