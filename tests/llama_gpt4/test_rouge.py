"""ROUGE: equal to rouge-score on its own ground, and right where rouge-score sees nothing."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize as rouge_score_tokens

from llama_gpt4.rouge import (
    NO_SCORE,
    TOKENIZERS,
    latin,
    lcs_length,
    mixed,
    rouge,
    rouge_l,
    rouge_n,
    rouge_of_tokens,
)

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
ORACLE = RougeScorer(["rouge1", "rouge2", "rougeL"])

ASCII = st.text(st.characters(max_codepoint=127))
# Few words, so that texts share some of them.
SENTENCES = st.lists(st.sampled_from(["the", "The", "cat,", "sat-on", "a", "mat.", "é", "猫"])).map(
    " ".join
)


def assert_equals_rouge_score(reference: str, prediction: str) -> None:
    ours, theirs = rouge(reference, prediction, latin), ORACLE.score(reference, prediction)
    for score, name in zip(
        (ours.rouge1, ours.rouge2, ours.rouge_l), ("rouge1", "rouge2", "rougeL"), strict=True
    ):
        expected = theirs[name]
        assert score.precision == pytest.approx(expected.precision, rel=0, abs=1e-12)
        assert score.recall == pytest.approx(expected.recall, rel=0, abs=1e-12)
        assert score.f == pytest.approx(expected.fmeasure, rel=0, abs=1e-12)


@given(st.one_of(st.text(), SENTENCES), st.one_of(st.text(), SENTENCES))
def test_scores_are_those_of_rouge_score(reference: str, prediction: str) -> None:
    assert_equals_rouge_score(reference, prediction)


@given(SENTENCES, SENTENCES)
def test_a_longest_common_subsequence_is_of_common_words(reference: str, prediction: str) -> None:
    """The paper's ROUGE-L is above its ROUGE-1 in a bucket: no mean of such pairs can be."""
    scores = rouge(reference, prediction, mixed)
    assert scores.rouge_l.f <= scores.rouge1.f


@given(st.text())
def test_latin_tokens_are_those_of_rouge_score(text: str) -> None:
    assert latin(text) == rouge_score_tokens(text, None)


@given(ASCII)
def test_mixed_tokens_of_ascii_are_the_latin_ones(text: str) -> None:
    assert mixed(text) == latin(text)


@given(st.text(), st.text())
def test_tokens_do_not_depend_on_what_stands_beyond_a_blank(one: str, other: str) -> None:
    assert mixed(f"{one} {other}") == mixed(one) + mixed(other)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("用Python写代码2023", ["用", "python", "写", "代", "码", "2023"]),
        ("人工智能，是什么？", ["人", "工", "智", "能", "是", "什", "么"]),
        ("カタカナ と ひらがな", [*"カタカナ", "と", *"ひらがな"]),
        ("한국어 text", ["한", "국", "어", "text"]),
        ("Ｆｕｌｌ　Ｗｉｄｔｈ １２", ["full", "width", "12"]),
        ("un café naïve", ["un", "café", "naïve"]),
        ("cafe\u0301", ["café"]),
        ("Привет, мир", ["привет", "мир"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("snake_case", ["snake", "case"]),
        ("𠮷野家", ["𠮷", "野", "家"]),
        ("，。！……", []),
    ],
)
def test_every_script_has_its_tokens(text: str, tokens: list[str]) -> None:
    assert mixed(text) == tokens


def test_chinese_is_compared() -> None:
    text, other = "请解释人工智能", "请描述人工智能"
    assert rouge(text, text, mixed).rouge_l.f == 1
    assert rouge(text, other, mixed).rouge_l.f == pytest.approx(5 / 7)
    assert rouge(text, text, latin).rouge_l == NO_SCORE
    # Where only the Latin part is the same, rouge-score takes the whole for the same.
    code, drawing = "用Python写代码2023", "用Python画图2023"
    assert rouge(code, drawing, latin).rouge_l.f == 1
    assert rouge(code, drawing, mixed).rouge_l.f == pytest.approx(2 * 3 / (6 + 6 - 1))


@pytest.mark.parametrize("tokenize", TOKENIZERS.values())
@pytest.mark.parametrize(("reference", "prediction"), [("", ""), ("a 猫", ""), ("", "a 猫")])
def test_without_tokens_scores_are_zero(tokenize, reference, prediction) -> None:
    scores = rouge(reference, prediction, tokenize)
    assert scores.rouge1 == scores.rouge2 == scores.rouge_l == NO_SCORE


def test_precision_is_of_the_prediction() -> None:
    score = rouge_l(["the", "cat", "sat", "on", "the", "mat"], ["the", "cat"])
    assert (score.precision, score.recall, score.f) == (1, 1 / 3, 0.5)


def test_an_ngram_counts_as_often_as_both_have_it() -> None:
    assert rouge_n(list("aab"), list("aaa")).precision == 2 / 3


def test_tokens_with_equal_hashes_are_different() -> None:
    assert hash(-1) == hash(-2)  # the like of which a comparison by hash would take for equal
    assert lcs_length([-1], [-2]) == 0


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_real_answers_score_as_with_rouge_score() -> None:
    answers = [
        {
            line["question_id"]: line["text"]
            for line in map(json.loads, (folder / name).read_text("utf-8").splitlines())
        }
        for folder in [Path(REAL_DATA or "") / "vicuna" / "answers"]
        for name in ("answer_bard.jsonl", "answer_gpt35.jsonl")
    ]
    for question in sorted(answers[0])[:25]:
        assert_equals_rouge_score(answers[0][question], answers[1][question])


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_real_chinese_answers_have_tokens() -> None:
    records = json.loads((Path(REAL_DATA or "") / "alpaca_gpt4_zh.json").read_text("utf-8"))
    assert all(mixed(record["output"]) for record in records)
    assert sum(not latin(record["output"]) for record in records) == 312


def test_scores_of_tokens_are_those_of_texts() -> None:
    reference, prediction = "the cat sat on the mat", "a cat sat on a mat"
    assert rouge_of_tokens(latin(reference), latin(prediction)) == rouge(
        reference, prediction, latin
    )
