"""What is typed as key=value: any text gets through, and a mistake is told as it was typed."""

from pathlib import Path

import pytest

from llama_gpt4.compose import compose_training
from llama_gpt4.errors import InputError
from llama_gpt4.overrides import quoted


@pytest.mark.parametrize(
    "override, message",
    [
        ("optim.lrr=1", "optim.lrr is not a key of this program; did you mean optim.lr?"),
        ("lr=1", "lr is not a key of this program; did you mean optim.lr?"),
        ("answer=endpoint", "answer is not a key of this program"),
        ("experiment=alpaca7b", "did you mean experiment=alpaca_7b?"),
        ("zero=stage9", "zero=stage9 does not exist: there are hpz, offload, stage0"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(override: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        compose_training([override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "override, shown",
    [
        ("name=问题 [", "'name=问题 ['"),
        ("run_dir=数据,其他", "'run_dir=数据,其他'"),
        ("+seed=数", "'seed=数'"),
        ("nothing.at.all=数", "nothing.at.all is not a key"),
    ],
)
def test_a_message_shows_what_was_typed(override: str, shown: str) -> None:
    with pytest.raises(InputError) as error:
        compose_training([override])
    assert shown in str(error.value) and '"问题"' not in str(error.value)


def test_file_names_may_be_chinese_or_hold_blanks() -> None:
    config = compose_training(["data.files=[数据/问题.json,\"a b.json\",'c,d.json',plain.json]"])
    names = [Path(file).name for file in config.data.files]
    assert names == ["问题.json", "a b.json", "c,d.json", "plain.json"]


@pytest.mark.parametrize("text", ["it's, here", "a=b [c] {d}", "中文 名"])
def test_any_text_may_be_a_value(text: str) -> None:
    assert compose_training([f"name={quoted(text)}"]).name == text
