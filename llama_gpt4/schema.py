"""The keys of a configuration's dataclasses, and values checked against them.

OmegaConf checks; every fault is an `InputError` of one line with the full key.
"""

import difflib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llama_gpt4.errors import InputError

C = TypeVar("C")


def to_object(schema: type[C], composed: Any) -> C:
    """The tree `composed`, its interpolations resolved, as a checked `schema` object."""
    try:
        OmegaConf.resolve(composed)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), composed))
    except OmegaConfBaseException as error:
        raise InputError(_bad_value(schema, error)) from error
    assert isinstance(config, schema)
    return config


def _bad_value(schema: type, error: OmegaConfBaseException) -> str:
    key = error.full_key or error.key
    reason = str(error.msg or error).splitlines()[0]
    if key is None:
        return reason
    if key not in dict(keys_of(schema)) and "not in" in reason:
        return f"{key} is not a key of this program{nearest(schema, str(key))}"
    if "mandatory" in reason.lower():
        return f"{key} has no value: give it one, as in {key}=…"
    if "ListConfig" in reason:
        return f"{key} is a list: write {key}=[…], also for a single value"
    if key in mappings(schema):
        return no_mapping(str(key))
    kind = dict(keys_of(schema)).get(str(key))
    if is_dataclass(kind):
        names = ", ".join(field.name for field in fields(kind))
        return f"{key} is a group of keys: write {key}.<key>=…, with one of {names}"
    return f"{key}: {reason[0].lower()}{reason[1:]}"


def no_mapping(key: str) -> str:
    """What is said where `key` got no mapping."""
    return f"{key} is a mapping: write {key}={{name: …}}, also for a single value"


def nearest(schema: type, key: str) -> str:
    """The key that may have been meant by an unknown one, as the end of a message."""
    known = [name for name, _ in keys_of(schema)]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    last = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    found = (last or near)[:1]
    return f"; did you mean {found[0]}?" if found else ""


def mappings(schema: type) -> list[str]:
    """Keys whose values are mappings of any names."""
    return [name for name, kind in keys_of(schema) if get_origin(kind) is dict]


def keys_of(schema: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of `schema`, dotted, and its type: of sections and of what is in them."""
    hints = get_type_hints(schema)
    for field in fields(schema):
        key, kind = prefix + field.name, hints[field.name]
        yield key, kind
        if is_dataclass(kind) and isinstance(kind, type):
            yield from keys_of(kind, key + ".")
