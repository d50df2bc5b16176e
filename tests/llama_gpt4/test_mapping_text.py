"""A name that stands twice in a mapping is found, whatever else is in it."""

import pytest

from llama_gpt4.mapping_text import repeated_name


@pytest.mark.parametrize(
    "text, name",
    [
        ("{a: x.jsonl, a: y.jsonl}", "a"),
        ("{a: x,b: [1, {c: 2}], 'a': y}", "a"),
        ('{"文": "x", 文: y}', "文"),
        ("[{c: 1, c: 2}]", "c"),
        ("{a: {b: 1, b: 2}}", "b"),
        ("{gpt4: gpt4, b: gpt4}", None),
        ("{a: http://x:80/a, b: a:a:a}", None),
        ("{a: 'x, a: y', b: \"it's {a: 1}\"}", None),
        ("{a: {b: 1}, c: {b: 2}, b: 3}", None),
        ("[{a: 1}, {a: 2}]", None),
        ("[a, a]", None),
        ("a: b, a: c", None),
        ("}{", None),
        ("", None),
    ],
)
def test_names_that_stand_twice(text: str, name: str | None) -> None:
    assert repeated_name(text) == name
