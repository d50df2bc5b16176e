"""Files that are whole or as they were, whatever happens while they are written."""

import contextlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from llama_gpt4.errors import InputError


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[IO[str]]:
    """A text file that takes the place of `path` when it is whole."""
    with bytes_aside(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace")
        yield text
        text.flush()
        text.detach()


@contextlib.contextmanager
def bytes_aside(path: Path) -> Iterator[IO[bytes]]:
    """The same of a file that is no text, such as a picture."""
    aside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave an empty file of this name
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def write_json(path: Path, value: Any) -> None:
    with written_aside(path) as file:
        file.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_jsonl(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    with written_aside(path) as file:
        file.writelines(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def write_array(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """A JSON array with a record a line: a data file that people can look at and diff."""
    with written_aside(path) as file:
        comma = "[\n"
        for value in values:
            file.write(comma + json.dumps(value, ensure_ascii=False))
            comma = ",\n"
        file.write("\n]\n" if comma != "[\n" else "[]\n")
