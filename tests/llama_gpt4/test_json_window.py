"""What a window reads and where it says that it stopped; whole arrays: test_blocks.py."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_gpt4.errors import InputError
from llama_gpt4.json_window import JsonWindow


def cut(text: str, size: int) -> Iterator[bytes]:
    content = text.encode()
    for start in range(0, len(content), size):
        yield content[start : start + size]


@given(
    st.lists(st.integers() | st.floats(allow_nan=False) | st.text(), min_size=1), st.integers(1, 9)
)
def test_values_that_are_cut_anywhere(values: list[object], size: int) -> None:
    texts = [json.dumps(value) for value in values]
    window = JsonWindow(cut(" ; ".join(texts) + "\n", size), "f")
    read = [window.value()]
    while window.has(";"):
        read.append(window.value())
    window.end()
    assert read == values
    assert window.n_characters == sum(map(len, texts))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_places_are_those_in_the_whole_text(size: int) -> None:
    window = JsonWindow(cut('{"é": 1}\n  ,\n  "b" x', size), "f")
    window.value()
    window.take(",", "Expecting ',' delimiter")
    window.value()
    with pytest.raises(InputError, match=r"^f is not JSON: Extra data \(line 3, column 7\)$"):
        window.end()


def test_a_fault_reads_no_further_than_it_has_to() -> None:
    taken = []

    def pieces() -> Iterator[bytes]:
        for n in range(100):
            taken.append(n)
            yield b'{"a": "b", broken and what comes after it' if n == 0 else b"x" * 100

    with pytest.raises(InputError, match="Expecting property name"):
        JsonWindow(pieces(), "f").value()
    assert len(taken) < 4
