"""A file of JSON values in blocks, so that it can be larger than memory, and that other processes
can take a share of the work.

A file is a JSON array, JSONL with one value a line, or a table; its first bytes say which. Lines
are only cut apart here, and parsed by whoever gets the block.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from llama_gpt4.containers import ARROW, PARQUET, table_rows
from llama_gpt4.conversations import KEYS
from llama_gpt4.errors import InputError
from llama_gpt4.json_window import JsonWindow, long_number, not_utf8, scan

Values = list[tuple[int, Any]]
"""Each with its place: from 0 in an array or a table, its line from 1 in JSONL."""

OF_RECORDS = frozenset({"instruction", "text", "turns", "answer", "question_id", *KEYS})
"""Keys of which every line of a file of records, questions, answers or judgements has one."""
BLOCK_VALUES, BLOCK_CHARACTERS = 1000, 2**20
"""Of an array: a block ends with the value that reaches either."""
MAX_OBJECT_PIECES = 256
"""So much of a file is read to see what a value over several lines is."""
OTHER_FORMATS = {
    b"PK\x03\x04": "is a zip archive: unpack it",
    b"BZh": "is compressed by bzip2: unpack it, or compress it by gzip or zstd",
    b"\xfd7zXZ": "is compressed by xz: unpack it, or compress it by gzip or zstd",
    b"ARROW1": "is an Arrow file, also called Feather: save it as Parquet or as an Arrow stream",
    codecs.BOM_UTF16_LE: "is UTF-16: save the file as UTF-8",
    codecs.BOM_UTF16_BE: "is UTF-16: save the file as UTF-8",
    b"version https://git-lfs": "is a pointer of Git LFS, not the file: fetch that by git lfs pull",
    b"<": "is HTML or XML: a page about the file, perhaps, instead of the file",
}
"""How files begin that are not for us, and what to do about them."""


@dataclass(frozen=True)
class Block:
    """Values that stand together in a file."""

    file: str
    first: int
    """Place of the first."""
    content: bytes | list[Any]
    """Whole lines, or values."""

    def values(self) -> Values:
        """They and their places; `InputError` where a line is no JSON."""
        values = list(self.parsed())
        for _, value in values:
            if isinstance(value, InputError):
                raise value
        return values

    def parsed(self) -> Iterator[tuple[int, Any]]:
        """The same, with the `InputError` in the place of a line that is no JSON."""
        if isinstance(self.content, list):
            return enumerate(self.content, self.first)
        return _parsed(decoded(self.content, self.file, self.first), self.file, self.first)


def blocks(pieces: Iterable[bytes], file: str) -> Iterator[Block]:
    """The values in `pieces`; `file` is what messages call these."""
    pieces = iter(pieces)
    head = b""
    while not head.strip() and (piece := next(pieces, b"")):
        head += piece
    pieces = chain([head], pieces)
    if head.startswith((PARQUET, ARROW)):
        return _table(pieces, file)
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        return _array(pieces, file)
    return _lines(pieces, file)


def decoded(content: bytes, file: str, first_line: int = 1) -> str:
    """The text of `content`, with or without a byte order mark; it begins at `first_line`."""
    try:
        return content.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        # Of the content without its mark.
        raise not_utf8(file, first_line + error.object.count(b"\n", 0, error.start)) from None


def _table(pieces: Iterable[bytes], file: str) -> Iterator[Block]:
    first = 0
    for rows in table_rows(pieces, file):
        yield Block(file, first, rows)
        first += len(rows)


def _lines(pieces: Iterator[bytes], file: str) -> Iterator[Block]:
    taken: list[bytes] = []
    for piece in pieces:
        taken.append(piece)
        if b"\n" in piece.strip():
            break  # the first line is whole
    head = b"".join(taken)
    _refuse_other_formats(head, file)
    if not _is_json(head.lstrip().split(b"\n", 1)[0]):
        head += b"".join(islice(pieces, MAX_OBJECT_PIECES))
    _refuse_one_object(head.decode("utf-8-sig", "ignore").strip(), file)
    line = 1
    for content in _whole_lines(chain([head], pieces)):
        yield Block(file, line, content)
        line += content.count(b"\n")


def _refuse_other_formats(head: bytes, file: str) -> None:
    for start, advice in OTHER_FORMATS.items():
        if head.startswith(start):
            raise InputError(f"{file} {advice}")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that end where a line does."""
    rest: list[bytes] = []
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join([*rest, piece[:end]])
            rest = []
        rest.append(piece[end:])
    if any(rest):
        yield b"".join(rest)


def _refuse_one_object(text: str, file: str) -> None:
    """One object around all records, or over several lines, is no JSONL."""
    try:
        value, end = scan(text)
    except (ValueError, RecursionError):
        return  # whoever parses the lines says where it breaks off
    if not isinstance(value, dict):
        return
    if end < len(text):
        if "\n" in text[:end]:
            raise InputError(
                f"{file} has JSON objects over several lines each: write one a line, or a list, "
                "[{…}, {…}]"
            )
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


def _parsed(text: str, file: str, first_line: int) -> Iterator[tuple[int, Any]]:
    # Not splitlines(): U+2028 and its like are legal within a JSON string.
    for line, entry in enumerate(text.split("\n"), start=first_line):
        if not entry.strip():
            continue
        try:
            yield line, json.loads(entry)
        except RecursionError:
            yield line, InputError(f"{file} line {line} is nested too deeply to be a record")
        except json.JSONDecodeError as error:
            yield (
                line,
                InputError(
                    f"{file} is neither a JSON array nor JSONL: {error.msg} "
                    f"(line {line}, column {error.colno})"
                ),
            )
        except ValueError:
            yield line, long_number(file, line)


def _array(pieces: Iterator[bytes], file: str) -> Iterator[Block]:
    window, values, first, begin = JsonWindow(pieces, file), [], 0, 0
    window.take("[", "Expecting value")
    is_last = window.has("]")
    while not is_last:
        values.append(window.value())
        is_last = not window.has(",")
        if len(values) == BLOCK_VALUES or window.n_characters - begin >= BLOCK_CHARACTERS:
            yield Block(file, first, values)
            first, values, begin = first + len(values), [], window.n_characters
        if is_last:
            window.take("]", "Expecting ',' delimiter")
    if values:
        yield Block(file, first, values)
    window.end()
