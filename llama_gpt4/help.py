"""`--help` and `--cfg` of every program: the keys with their meanings, and what they come to in a
run of the same line.

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

from llama_gpt4.compose import compose, run_config
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.frozen_config import as_yaml
from llama_gpt4.program import show
from llama_gpt4.programs import PROGRAMS


def wants_help(program: str, schema: type, arguments: Sequence[str]) -> bool:
    """Print what `--help` or `--cfg` asks for; whether either was there."""
    if any(argument in ("-h", "--help") for argument in arguments):
        keys = "\n".join(_key_lines(schema, ""))
        show(f"llama-gpt4 {_command(program)} [key=value …]\n\n{keys}\n")
        return True
    try:
        overrides = _without_cfg(arguments)
        if overrides is None:
            return False
        trains = program in PROGRAMS
        config = run_config(program, overrides) if trains else compose(schema, program, overrides)
    except InputError as error:
        print(f"llama-gpt4 {_command(program)}: {error}", file=sys.stderr)
        raise SystemExit(ExitCode.BAD_INPUT) from error
    show(as_yaml(config))
    return True


def _command(program: str) -> str:
    """What is typed for the program of `conf/<program>.yaml`."""
    for folder, typed in {"evaluate/": "evaluate metric=", "answer/": "answer engine="}.items():
        if program.startswith(folder):
            return program.replace(folder, typed)
    return program.replace("data_gen/", "data ").replace("/", " ").replace("_", "-")


def _without_cfg(arguments: Sequence[str]) -> list[str] | None:
    """What stands beside `--cfg`, or `--cfg job` as Hydra spells it; None without either."""
    words = [
        word
        for argument in arguments
        for word in (argument.split("=", 1) if argument.startswith("--cfg=") else [argument])
    ]
    if "--cfg" not in words:
        return None
    place = words.index("--cfg")
    before, after = words[:place], words[place + 1 :]
    if after[:1] in (["hydra"], ["all"]):
        raise InputError(f"--cfg {after[0]} would show Hydra's own settings: only `--cfg` is here")
    return before + (after[1:] if after[:1] == ["job"] else after)


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
    """The strings below the fields of a dataclass and of those that it extends, by field."""
    found: dict[str, str] = {}
    for extended in reversed([kind for kind in schema.__mro__ if is_dataclass(kind)]):
        found |= _own_meanings(extended)
    return found


def _own_meanings(schema: type) -> dict[str, str]:
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
