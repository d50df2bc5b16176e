"""The files of results that `llama-gpt4 report` draws from."""

from collections.abc import Iterable
from pathlib import Path

from llama_gpt4.errors import InputError


def require_apart(output: str, inputs: Iterable[str], key: str = "output") -> None:
    """Refuse to write the result in the place of a file that it is made from; `key` is what the
    user calls it."""
    for file in inputs:
        if Path(file).resolve() == Path(output).resolve():
            raise InputError(f"{key}={output} is read as well: choose another {key}")
