"""What stands under the keys of a record, checked."""

from typing import Any

from llama_gpt4.errors import InputError

NO_INPUT = frozenset(
    {
        *("", "<noinput>", "`<noinput>`", "noinput", "<no input>", "no input", "n/a", "n/a.", "-"),
        *("none", "none.", "null", "nan", "无", "无输入", "没有输入", "不适用", "空"),
    }
)
"""What people write for "no input", compared without case and outer blanks; it becomes ""."""


def without_placeholder(input: str) -> str:
    """`input`, or "" where it only says that there is none."""
    return "" if input.strip().lower() in NO_INPUT else input


def text_of(value: Any, key: str, name: str) -> str:
    """`value`, which stands under `key` in the record `name`, if it is a text."""
    if not isinstance(value, str):
        raise InputError(f"{name}: `{key}` is a JSON {json_type(value)}, not a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name}: `{key}` holds half of a surrogate pair at character {error.start}, which is "
            "no text"
        ) from None
    return value


def json_type(value: Any) -> str:
    """What JSON calls the type of `value`; those that only tables have keep their own name."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "number", float: "number"}
    return names.get(type(value), type(value).__name__)
