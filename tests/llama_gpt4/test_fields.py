"""What stands under a key; in whole files of records: test_records.py."""

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.fields import json_type, text_of, without_placeholder


def test_the_types_of_json() -> None:
    values = [None, True, 1, 1.5, "", [], {}]
    names = ["null", "boolean", "number", "number", "string", "array", "object"]
    assert [json_type(value) for value in values] == names


def test_a_text_is_a_text_to_the_letter() -> None:
    assert text_of(" 你好\n", "output", "a.json record 3") == " 你好\n"
    with pytest.raises(InputError, match=r"^a\.json record 3: `output` is a JSON array, not a"):
        text_of(["a"], "output", "a.json record 3")


def test_only_a_whole_placeholder_is_none() -> None:
    assert [without_placeholder(text) for text in (" N/A ", "无", "N/A 3")] == ["", "", "N/A 3"]
