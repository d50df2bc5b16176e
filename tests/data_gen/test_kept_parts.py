"""What a translation leaves as it is, and numbers in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_gpt4_data.kept_parts import kept_parts, lost_numbers, lost_parts, without_parts


@pytest.mark.parametrize(
    "text, parts",
    [
        ("Run `ls -l` twice", ["`ls -l`"]),
        ("Fix:\n```python\nx = '{y}'\n```\nnow", ["```python\nx = '{y}'\n```"]),
        ("Dear {name}, {{ city }} and ${HOME}", ["{name}", "{{ city }}", "${HOME}"]),
        ("Dear <name>, [NAME] and <br/>", ["<name>", "[NAME]", "<br/>"]),
        ('<a href="x">link</a>', ['<a href="x">', "</a>"]),
        ("%s costs %.2f, %(n)s and 50% off", ["%s", "%.2f", "%(n)s"]),
        ("See https://a.org/b?c=1.", ["https://a.org/b?c=1"]),
        ("参见https://a.org/b。谢谢", ["https://a.org/b"]),
        ("Write to me@a.org, please", ["me@a.org"]),
        ("The ______ of ___", ["___", "___"]),
        ("A [link](https://a.org) here", ["https://a.org"]),
        ("If a < b and {1, 2} [see above]", []),
    ],
)
def test_parts_that_stay(text: str, parts: list[str]) -> None:
    assert sorted(kept_parts(text).elements()) == sorted(parts)


def test_a_part_is_lost_changed_or_new() -> None:
    source = "Say {name} in `code`."
    assert lost_parts(source, "用 `code` 说 {name}。") == []
    assert sorted(lost_parts(source, "用 `代码` 说 {name}。")) == ["`code`", "`代码`"]
    assert lost_parts("{a} {a}", "{a}") == ["{a}"]
    assert lost_parts("The ____ of", "______的") == []


def test_what_is_kept_is_not_there_to_translate() -> None:
    assert without_parts("Run `ls` now").split() == ["Run", "now"]


@pytest.mark.parametrize(
    "source, translation, lost",
    [
        ("Add 15 and 7.5", "把 15 与 7.5 相加", []),
        ("Add 15 and 7.5", "把 15 与 75 相加", ["7.5"]),
        ("Write 3 sentences", "写三个句子", []),
        ("写3个句子", "Write three sentences", []),
        ("Write 2 poems of 12 lines", "写两首诗", ["12"]),
        ("It costs 1,000 dollars", "它的价格是1000美元", []),
        ("It costs 3 million", "它的价格是300万", []),
        ("价格是300万", "It costs 3 million", []),
        ("On January 5, 2020", "在2020年1月5日", []),
        ("On May 5, 2020", "２０２０年五月５日", []),
        ("Print `7`", "打印", []),
        ("5 and 5", "五和五", []),
    ],
)
def test_numbers(source: str, translation: str, lost: list[str]) -> None:
    assert lost_numbers(source, translation) == lost


@given(st.text(max_size=80))
def test_a_text_loses_nothing_to_itself(text: str) -> None:
    assert lost_parts(text, text) == [] and lost_numbers(text, text) == []
