"""`--help` and `--cfg` of every program: the keys with their meanings, and what they come to.

The meanings are the strings below the fields of the configuration classes, which are the only
reference manual; they are read from the source, so that nothing is written twice.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import get_type_hints

from omegaconf import OmegaConf

from llama_gpt4.compose import compose_yaml
from llama_gpt4.errors import ExitCode, InputError


def wants_help(program: str, schema: type, arguments: Sequence[str]) -> bool:
    """Print what `--help` or `--cfg` asks for; whether either was there."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(f"llama-gpt4 {program} [key=value …]\n")
        for line in _key_lines(schema, ""):
            print(line)
        return True
    if "--cfg" in arguments:
        try:
            overrides = [argument for argument in arguments if argument != "--cfg"]
            print(OmegaConf.to_yaml(compose_yaml(schema, program, overrides)), end="")
        except InputError as error:
            print(f"llama-gpt4 {program}: {error}", file=sys.stderr)
            raise SystemExit(ExitCode.BAD_INPUT) from error
        return True
    return False


def _key_lines(schema: type, prefix: str) -> Iterator[str]:
    hints, meanings = get_type_hints(schema), _meanings(schema)
    for field in fields(schema):
        kind = hints[field.name]
        if is_dataclass(kind) and isinstance(kind, type):
            yield from _key_lines(kind, f"{prefix}{field.name}.")
            continue
        shown = kind.__name__ if isinstance(kind, type) else str(kind)
        yield f"{prefix}{field.name}: {shown.replace('None', 'null')}"
        yield from textwrap.wrap(
            meanings.get(field.name, ""), 92, initial_indent="    ", subsequent_indent="    "
        )


def _meanings(schema: type) -> dict[str, str]:
    """The strings below the fields of a dataclass, by field."""
    body = ast.parse(textwrap.dedent(inspect.getsource(schema))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = " ".join(below.value.value.split())
    return found
