"""Votes in files that people exchange: JSONL, or CSV by the name of the file."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.ballot import CRITERIA, TIE
from llama_gpt4.evaluation.votes import VOTE_KEYS, Study, Vote
from llama_gpt4.fields import json_type
from llama_gpt4.files import write_jsonl, written_aside
from llama_gpt4.records import json_values, read_bytes, record_name

KEYS = (*VOTE_KEYS, "first", "second")
"""Of a line: the vote, and the two models that were compared."""
OPTIONAL = ("left",)


def write_votes(path: Path, study: Study, votes: list[Vote]) -> None:
    """Write `votes` to `path`: CSV, or JSONL, as its name says; each with the models of `study`."""
    lines = [{**asdict(vote), "first": study.first, "second": study.second} for vote in votes]
    if path.suffix != ".csv":
        return write_jsonl(path, lines)
    with written_aside(path) as file:
        table = csv.DictWriter(file, KEYS, lineterminator="\n")
        table.writeheader()
        table.writerows(lines)


def read_votes(file: str) -> tuple[Study, list[Vote]]:
    """The votes of `file`, all on the same two models."""
    found = [_vote(value, name) for name, value in _lines(file)]
    if not found:
        raise InputError(f"file={file} holds no vote")
    models = found[0][0]
    for (first, second), vote in found:
        if {first, second} != {*models}:
            raise InputError(
                f"{file}: the vote {vote.vote_id} compares {first} and {second}, others "
                f"{' and '.join(models)}: give each pair a file"
            )
    return Study(*models, seed=None), [vote for _, vote in found]


def _lines(file: str) -> Iterator[tuple[str, Any]]:
    if not Path(file).exists():
        raise InputError(f"file={file} does not exist")
    if Path(file).suffix != ".csv":
        for index, value in json_values(read_bytes(file), file):
            yield record_name(file, index), value
        return
    try:
        text = read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8: {error.reason}") from error
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for index, row in enumerate(rows):
            yield f"{file} row {index + 2}", row
    except csv.Error as error:
        raise InputError(f"{file} line {rows.line_num} is no CSV: {error}") from error


def _vote(value: Any, name: str) -> tuple[tuple[str, str], Vote]:
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
    texts = {key: _text(value, key, name) for key in KEYS if key not in OPTIONAL}
    models = (texts.pop("first"), texts.pop("second"))
    _require_known("criterion", texts["criterion"], CRITERIA, name)
    _require_known("choice", texts["choice"], (*models, TIE), name)
    texts["time"] = _time(texts["time"], name)
    left = value.get("left") or None
    if left is not None:
        _require_known("left", left, models, name)
    return models, Vote(**texts, left=left)


def _text(value: Mapping[str, Any], key: str, name: str) -> str:
    found = value.get(key)
    if key == "question_id" and isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if not isinstance(found, str) or not found:
        raise InputError(f"{name} has no text under `{key}`: a vote has {', '.join(KEYS)}")
    return found


def _time(text: str, name: str) -> str:
    """In UTC, which a time without an offset is in, and always as long: the last vote counts, and
    texts are compared."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{name}: time is {text!r}, not such as 2026-01-31T12:00:00+00:00"
        ) from None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.isoformat(timespec="microseconds")


def _require_known(key: str, found: Any, allowed: tuple[str, ...], name: str) -> None:
    if found not in allowed:
        raise InputError(f"{name}: {key} is {found!r}, not one of {', '.join(allowed)}")
