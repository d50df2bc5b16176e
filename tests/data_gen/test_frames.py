"""How an instruction is put to a teacher."""

import pytest
from llama_gpt4_data.frames import FRAMES, framed, require_frame

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import render_prompt


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("input", ["", "1 and 1"])
def test_a_frame_holds_the_record_unchanged_and_once(frame: str, input: str) -> None:
    text = framed(frame, "Add the {numbers}.", input)
    assert text.count("Add the {numbers}.") == 1
    assert not input or text.count(input) == 1


def test_the_papers_frame_is_that_of_training() -> None:
    assert framed("alpaca", "Add.", "1 1") == render_prompt("Add.", "1 1")
    assert framed("alpaca", "Add.", "") == render_prompt("Add.", "")


def test_the_plain_frame_adds_nothing() -> None:
    assert framed("plain", "Add.", "") == "Add."
    assert framed("plain", "Add.", "1 1") == "Add.\n\n1 1"


def test_an_input_makes_another_chinese_frame() -> None:
    assert "### 输入：\n一\n\n### 回答：" in framed("alpaca_zh", "加。", "一")
    assert "输入" not in framed("alpaca_zh", "加。", "")


def test_an_unknown_frame_is_refused() -> None:
    with pytest.raises(InputError, match="frame=vicuna is not one of alpaca, alpaca_zh, plain"):
        require_frame("vicuna")
