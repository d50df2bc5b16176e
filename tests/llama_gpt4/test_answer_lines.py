"""Files of answers: what is read back, and whose files are left alone."""

import json

import pytest

from llama_gpt4.answer_lines import read_finished
from llama_gpt4.errors import InputError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"my diary, no newline", "is no file of answers"),
        (b'{"text": "a"}\n', "line 1 is no answer of this program"),
        (b"\n", "line 1 is no answer of this program"),
        (b"[1]\n", "line 1 is no answer of this program"),
        (b"\xff\n", "line 1 is no answer of this program"),
    ],
)
def test_a_file_of_somebody_else_is_left_alone(tmp_path, content, message):
    output = tmp_path / "diary.txt"
    output.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_finished(output, {"model": "m", "decoding": {}}, {})
    assert output.read_bytes() == content


def test_a_line_cut_anywhere_is_made_again(tmp_path):
    output = tmp_path / "answers.jsonl"
    line = {"question_id": "a", "question": "", "answer": "巴", "sample": 0, "model": "m"}
    text = json.dumps(line | {"decoding": {}, "finish_reason": "stop"}, ensure_ascii=False).encode()
    whole = text.replace(b'"a"', b'"b"') + b"\n"
    for end in range(len(text) + 1):
        output.write_bytes(whole + text[:end])
        finished = read_finished(output, {"model": "m", "decoding": {}}, {"b": ""})
        assert finished == {("b", 0): "stop"}
        assert output.read_bytes() == whole
