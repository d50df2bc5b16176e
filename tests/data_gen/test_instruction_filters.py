"""Alpaca's filters on instructions: each rule by its name, and the published counts."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from llama_gpt4_data.instruction_filters import RULES, InstructionFilterConfig, dropped_by

from llama_gpt4.errors import InputError
from llama_gpt4.records import read_records

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


def config(language: str = "en", keywords: str = "alpaca") -> InstructionFilterConfig:
    return InstructionFilterConfig(
        language=language, keywords=keywords, min_length=4, max_length=150
    )


@pytest.mark.parametrize(
    ("rule", "instruction"),
    [
        ("too_short", "Solve this equation."),
        ("too_short", ""),
        ("too_long", "word " * 151),
        ("keyword", "Describe the Image that is attached."),
        ("keyword", "Please go to the shop for me."),
        ("keyword", "Compose some music for a party"),
        ("write_a_program", "Write a program that sorts numbers."),
        ("starts_with_punctuation", "- list five kinds of fruit"),
        ("starts_beyond_ascii", "“To be” is from which play?"),
        ("starts_beyond_ascii", "写一首 poem about the sea"),
    ],
)
def test_an_english_instruction_is_dropped_by(rule: str, instruction: str) -> None:
    assert dropped_by(instruction, config()) == rule


@pytest.mark.parametrize(
    "instruction",
    [
        "Name four kinds of fruit.",
        "Give examples of imagery in poems.",  # a keyword within a word is none
        "Explain how one could write a program.",
        "word " * 150,
        "Translate the word 苹果 into English.",
    ],
)
def test_an_english_instruction_is_kept(instruction: str) -> None:
    assert dropped_by(instruction, config()) is None


def test_self_instruct_keeps_what_its_list_lacks() -> None:
    music, image = "Compose some music for a party", "Describe the image that is attached"
    assert dropped_by(music, config(keywords="self_instruct")) is None
    assert dropped_by(image, config(keywords="self_instruct")) == "keyword"
    assert dropped_by("推荐几首放松的音乐。", config("zh", "self_instruct")) is None
    assert dropped_by("推荐几首放松的音乐。", config("zh")) == "keyword"


@pytest.mark.parametrize(
    ("rule", "instruction"),
    [
        ("too_short", "你好吗？"),
        ("too_long", "字" * 151),
        ("keyword", "描述一下这张图片的内容。"),
        ("keyword", "请绘制一个三角形。"),
        ("write_a_program", "编写一个程序，计算两个数的和。"),
        ("write_a_program", "写程序来排序。"),
        ("starts_with_punctuation", "，请解释什么是光合作用。"),
        ("not_chinese", "Name four kinds of fruit."),
        ("not_chinese", "これは何ですか教えてください"),
    ],
)
def test_a_chinese_instruction_is_dropped_by(rule: str, instruction: str) -> None:
    assert dropped_by(instruction, config("zh")) == rule


@pytest.mark.parametrize(
    "instruction",
    [
        "Python 的列表和元组有什么区别？",
        "《红楼梦》的作者是谁？",
        "图书馆的作用是什么？",  # 图 alone is in many words
        "解释气候变化的影响。",
        "把“hello”翻译成中文。",
    ],
)
def test_a_chinese_instruction_is_kept(instruction: str) -> None:
    assert dropped_by(instruction, config("zh")) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language": "fr"}, "language=fr is not one of en, zh"),
        ({"keywords": "mine"}, "keywords=mine is not one of alpaca, self_instruct"),
        ({"min_length": 151}, "min_length=151 is not within 1 and max_length=150"),
    ],
)
def test_bad_values_are_refused(changes: dict, message: str) -> None:
    values = {"language": "en", "keywords": "alpaca", "min_length": 4, "max_length": 150}
    with pytest.raises(InputError, match=message):
        InstructionFilterConfig(**values | changes)


def dropped(name: str, key: str) -> Counter[str]:
    if REAL_DATA is None:
        pytest.skip("LLAMA_GPT4_REAL_DATA names no folder")
    lines = (Path(REAL_DATA) / name).read_text("utf-8").splitlines()
    rules = [dropped_by(json.loads(line)[key], config()) for line in lines]
    return Counter(rule or "kept" for rule in rules)


def test_the_chain_keeps_of_real_sets_what_was_published() -> None:
    assert dropped("seed_tasks.jsonl", "instruction") == {
        "kept": 171, "too_short": 2, "keyword": 1, "write_a_program": 1,
    }  # fmt: skip
    assert dropped("user_oriented_instructions.jsonl", "instruction") == {
        "kept": 245, "too_short": 1, "keyword": 6,
    }  # fmt: skip
    assert dropped("vicuna_question_80.jsonl", "text") == {
        "kept": 74, "keyword": 5, "write_a_program": 1,
    }  # fmt: skip


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_real_chinese_instructions_mostly_stay() -> None:
    records = read_records(f"{REAL_DATA}/alpaca_gpt4_zh.json")
    rules = Counter(dropped_by(record.instruction, config("zh")) or "kept" for record in records)
    assert set(rules) <= {*RULES, "kept"}
    assert rules["kept"] >= 0.95 * len(records)
    assert rules["not_chinese"] == 0
