"""Languages of what training data hold: mixed texts, code, single words, quotations."""

import json
import os
from pathlib import Path

import pytest

from llama_gpt4.language import ENGLISH, FOREIGN, language_of, prose
from llama_gpt4.records import read_records

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")

KNOWN = {
    "en": [
        "What does 人工智能 mean?",
        "Translate '你好' into English.",
        "Who wrote 红楼梦?",
        "Paris",
        "positive",
        "1. La La Land\n2. Blade Runner\n3. Cool Runnings\n4. Casablanca\n5. Top Gun",
        "We met at the café; Zoë, naïve as ever, paid.",
        "e! Here is a list of four albums:",
        'The sentence "El agua es importante" translates to "Water is important".',
        "Convert this equation 7x^2 + 2x + 7 = 0 into quadratic form.",
        "What is the purpose of `key` in Python's sorted() function?",
        "Write to 王芳 at http://例子.cn/ or a@b.cn.",
    ],
    "zh": [
        "Python 是什么?",
        "用Python写代码",
        "解释 machine learning",
        "翻译 hello world",
        "北京",
        "你好!",
        "請解釋什麼是人工智慧",
        "我係香港人",
        "优衣库の新品",
        "请将以下句子翻译成英文：The quick brown fox jumps over the lazy dog.",
        "以下是名单：\n1. Harry Potter\n2. Ron Weasley\n3. Neville Longbottom\n4. Luna Lovegood",
        "如下：\n```python\nfor name in names:\n    print(name, name.upper(), len(name))\n```",
        "def f(x):  # 计算总和\n    return sum(x)",
        '输出:\n{\n  "root": {\n    "@id": "1",\n    "name": "Sample data"\n  }\n}',
    ],
    "other": [
        "カタカナとは何ですか",
        "日本語を勉強しています",
        "안녕하세요, 세계",
        "Привет, мир",
        "مرحبا بالعالم",
        "Où est la bibliothèque ?",
        "Der Hund ist nicht hier.",
        "El agua es importante",
        "Tiếng Việt là ngôn ngữ",
    ],
    None: [
        "",
        "15\n9\n-8.5",
        "x = 5",
        "……",
        "😊",
        "https://example.com/a",
        "def square(x): return x ** 2",
        "def square(x):\n    return x ** 2",
        "```\nSELECT name FROM people\n```",
        "int main() {\n  puts(text);\n  return 0;\n}",
    ],
}


@pytest.mark.parametrize(
    ("language", "text"), [(key, text) for key, texts in KNOWN.items() for text in texts]
)
def test_language(language: str | None, text: str) -> None:
    assert language_of(text) == language


def test_small_words_belong_to_one_side() -> None:
    assert ENGLISH.isdisjoint(FOREIGN)


def test_prose_keeps_sentences_with_formulas_and_comments_in_chinese() -> None:
    text = "The answer is x = 5.\nx = 5\ny = 6  # 答案"
    assert prose(text).split() == ["The", "answer", "is", "x", "=", "5.", "答案"]


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_real_english_texts_are_english() -> None:
    records = read_records(f"{REAL_DATA}/alpaca_gpt4_en.json")
    texts = [text for record in records for text in (record.instruction, record.output)]
    wrong = [text for text in texts if language_of(text) not in ("en", None)]
    assert len(texts) == 1398 and wrong == []


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_real_chinese_texts_are_chinese() -> None:
    records = read_records(f"{REAL_DATA}/alpaca_gpt4_zh.json")
    assert all(language_of(record.instruction) == "zh" for record in records)
    # Read one by one: 16 answers in English, and one that is code without a word of Chinese.
    wrong = [record for record in records if language_of(record.output) != "zh"]
    assert len(wrong) == 17 and {language_of(record.output) for record in wrong} == {"en"}


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_real_seeds_are_english() -> None:
    lines = (Path(REAL_DATA or "") / "seed_tasks.jsonl").read_text("utf-8").splitlines()
    instructions = [json.loads(line)["instruction"] for line in lines]
    assert {language_of(text) for text in instructions} == {"en"}
