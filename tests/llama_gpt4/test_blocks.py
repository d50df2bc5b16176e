"""Blocks hold what `json` reads in the whole file, wherever its pieces are cut."""

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_gpt4 import blocks as module
from llama_gpt4.blocks import BLOCK_VALUES, blocks
from llama_gpt4.errors import InputError

json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
indent = st.sampled_from([None, 0, 2])


def cut(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def read(content: bytes, size: int) -> list[tuple[int, Any]]:
    return [value for block in blocks(cut(content, size), "f") for value in block.values()]


def fault(content: bytes, size: int = 7) -> str:
    with pytest.raises(InputError) as caught:
        read(content, size)
    return str(caught.value)


@given(st.lists(json_value, max_size=5), indent, st.booleans(), st.integers(4, 40))
def test_an_array(values: list[Any], indent: int | None, ascii: bool, size: int) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii)
    content = text.encode("utf-8", "surrogatepass")
    try:
        content.decode()
    except UnicodeDecodeError:
        return
    expected = list(enumerate(json.loads(text)))
    assert repr(read(content, size)) == repr(expected)  # NaN is not equal to itself
    assert repr(read(b"\xef\xbb\xbf" + content + b"\n\t ", size)) == repr(expected)


records = st.lists(st.dictionaries(st.text(max_size=3), json_value), min_size=2, max_size=6)


@given(records, st.integers(4, 40))
def test_lines(values: list[Any], size: int) -> None:
    content = "\n\n".join(json.dumps(value) for value in values).encode()
    expected = [(1 + 2 * i, value) for i, value in enumerate(values)]
    assert repr(read(content, size)) == repr(expected)


@given(st.data(), indent, st.integers(4, 40))
def test_a_broken_array_is_told_as_json_does(data: Any, indent: int | None, size: int) -> None:
    """A sign too many or too few, anywhere."""
    whole = json.dumps([{"a": "é\n"}, {"b": [1, 2]}, -3.5e3, None], indent=indent)
    place = data.draw(st.integers(1, len(whole) - 1))
    sign = data.draw(st.sampled_from(["", ",", "]", '"', "x", "\\", "\n"]))
    text = whole[:place] + sign + whole[place + 1 :]
    try:
        expected = list(enumerate(json.loads(text)))
    except json.JSONDecodeError as error:
        where = f"(line {error.lineno}, column {error.colno})"
        assert fault(text.encode(), size) == f"f is not JSON: {error.msg} {where}"
    else:
        assert read(text.encode(), size) == expected


@pytest.mark.parametrize("size", [5, 1000])
def test_a_line_that_is_not_utf8_is_named(size: int) -> None:
    good, bad = '{"a": "你"}\n'.encode(), b'{"a": "\xc4\xe3"}\n'
    assert fault(good * 3 + bad, size).startswith("f line 4 is not UTF-8")
    assert fault(b"[\n" + good + b"," + bad, size).startswith("f line 3 is not UTF-8")


def test_a_line_after_a_byte_order_mark_is_counted_from_there() -> None:
    assert fault(b'\xef\xbb\xbf{"a": 1}\n\xff\n', 1000).startswith("f line 2 is not UTF-8")


@pytest.mark.parametrize("text", ['{"a": 1}\n{"b": %s}\n', '[{"a": 1},\n{"b": %s}]'])
def test_a_number_longer_than_python_reads_is_named(text: str) -> None:
    expected = "f line 2 has a whole number of more digits than Python reads"
    assert fault((text % ("1" * 4301)).encode(), 1000) == expected


@pytest.mark.parametrize("broken", ['{"a" 1}', '{"a": x}', '{"a": "\n"}', '{"a": "\\q"}', "{} {}"])
def test_a_broken_value_ends_the_reading_of_an_array(broken: str) -> None:
    """The rest of a large file would be read for nothing, and into memory."""
    pieces = cut(b"[" + broken.encode() + b",\n{}" * 10_000 + b"]", 1000)
    with pytest.raises(InputError, match="f is not JSON"):
        list(blocks(pieces, "f"))
    assert len(list(pieces)) > 30


def test_large_values_come_a_few_at_a_time() -> None:
    values = ["x" * 300_000] * 10
    array = blocks(cut(json.dumps(values).encode(), 2**20), "f")
    assert [len(block.values()) for block in array] == [4, 4, 2]
    lines = "\n".join(json.dumps({"output": value}) for value in values).encode()
    sizes = [len(block.values()) for block in blocks(cut(lines, 200_000), "f")]
    assert sum(sizes) == 10 and max(sizes) <= 2


def test_an_array_comes_in_blocks() -> None:
    content = json.dumps(list(range(2 * BLOCK_VALUES + 1))).encode()
    sizes = [(block.first, len(block.values())) for block in blocks(cut(content, 99), "f")]
    assert sizes == [(0, BLOCK_VALUES), (BLOCK_VALUES, BLOCK_VALUES), (2 * BLOCK_VALUES, 1)]


@pytest.mark.parametrize(("before", "after"), [(b"[", b"{}]"), (b"", b"{}")])
def test_what_was_read_is_forgotten(before: bytes, after: bytes) -> None:
    """40 MB are read while less than 4 are held at any time."""
    end = b",\n" if before else b"\n"
    record = json.dumps({"instruction": "Why?", "output": "x" * 960}).encode() + end
    pieces = [before + record * 1000, *[record * 1000] * 39, after]
    tracemalloc.start()
    try:
        n = sum(len(block.values()) for block in blocks(pieces, "f"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n == 40_001 and peak < 10 * len(pieces[1])


def test_an_object_around_the_records_is_seen_beyond_the_first_piece() -> None:
    records = [{"instruction": "Why?", "output": "So."}] * 50
    text = json.dumps({"data": records}, indent=1).encode()
    assert "save the list under `data` as a file of its own" in fault(text, 100)
    one_line = json.dumps({"data": records}).encode()
    assert "save the list under `data` as a file of its own" in fault(one_line, 100)
    assert module.MAX_OBJECT_PIECES * 2**20 >= 2**28  # of files as they are read
