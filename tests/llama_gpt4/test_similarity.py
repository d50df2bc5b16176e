"""The index of similar texts: decisions are those of comparing with every text."""

import json
import os
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import _score_lcs

from llama_gpt4 import similarity
from llama_gpt4.errors import InputError
from llama_gpt4.rouge import TOKENIZERS, latin, lcs_length, mixed
from llama_gpt4.similarity import SimilarityIndex

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
WORDS = [*"abcdefghijklmnopqrst", "猫", "狗"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), max_size=40)


@pytest.fixture(autouse=True)
def sorts_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order by rarity changes while there are few texts."""
    monkeypatch.setattr(similarity, "FIRST_SORT_TEXTS", 4)


def fraction(one: Sequence[str], other: Sequence[str]) -> Fraction:
    """ROUGE-L F without rounding."""
    total = len(one) + len(other)
    return Fraction(2 * lcs_length(one, other), total) if total else Fraction(0)


def kept_by_all_pairs(texts: Sequence[str], threshold: float, decisions: str) -> list[str]:
    """The filter as Alpaca has it."""
    limit = Fraction(str(threshold))
    kept: list[list[str]] = []
    names = []
    for text in texts:
        tokens = mixed(text)
        if decisions == "exact":
            is_similar = any(fraction(tokens, other) > limit for other in kept)
        else:
            is_similar = any(_score_lcs(tokens, other).fmeasure > threshold for other in kept)
        if not is_similar:
            kept.append(tokens)
            names.append(text)
    return names


def kept_by_index(texts: Sequence[str], threshold: float, decisions: str) -> list[str]:
    index = SimilarityIndex(threshold, decisions=decisions)
    return [text for text in texts if index.admit(text) is None]


@given(TEXTS, st.sampled_from([0.3, 0.5, 0.7, 0.9]), st.sampled_from(["exact", "rouge_score"]))
def test_the_filter_keeps_what_all_pairs_keep(texts, threshold, decisions) -> None:
    expected = kept_by_all_pairs(texts, threshold, decisions)
    assert kept_by_index(texts, threshold, decisions) == expected


@given(TEXTS, st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join))
def test_all_similar_texts_are_found_best_first(texts, query) -> None:
    index = SimilarityIndex(0.5)
    for text in texts:
        index.add(text)
    scores = [fraction(mixed(query), mixed(text)) for text in texts]
    above = sorted((-score, number) for number, score in enumerate(scores) if score > 0.5)
    matches = index.similar(query)
    assert [match.number for match in matches] == [number for _, number in above]
    assert [match.f for match in matches] == pytest.approx([-float(score) for score, _ in above])


@given(TEXTS.filter(bool), st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join))
def test_neighbours_are_nearest_of_all(texts, query) -> None:
    index = SimilarityIndex(0.7)
    for text in texts:
        index.add(text)
    found = index.neighbours(query, 3)
    scores = np.array([_score_lcs(mixed(query), mixed(text)).fmeasure for text in texts])
    order = np.argsort(-scores, kind="stable")[:3]
    assert [match.number for match in found.nearest] == order.tolist()
    assert [match.f for match in found.nearest] == pytest.approx(scores[order], abs=1e-12)
    assert found.average == pytest.approx(scores.mean(), abs=1e-12)


def texts_at(m: int, n: int, hits: int) -> tuple[str, str]:
    """Texts of `m` and `n` tokens with `hits` in common."""
    common = [f"c{i}" for i in range(hits)]
    return (
        " ".join([*common, *(f"l{i}" for i in range(m - hits))]),
        " ".join([*common, *(f"r{i}" for i in range(n - hits))]),
    )


def test_exactly_the_threshold_is_not_above_it() -> None:
    cells = [(m, n) for m in range(1, 60) for n in range(1, 60) if 7 * (m + n) % 20 == 0]
    disputed = 0
    for m, n in cells:
        hits = 7 * (m + n) // 20
        if hits > min(m, n):
            continue
        first, second = texts_at(m, n, hits)
        exact, parity = (
            SimilarityIndex(0.7, decisions=decisions) for decisions in ("exact", "rouge_score")
        )
        for index in (exact, parity):
            index.add(first)
        assert exact.similar(second) == []
        theirs = _score_lcs(mixed(first), mixed(second)).fmeasure > 0.7
        assert bool(parity.similar(second)) == theirs
        disputed += theirs
    assert disputed > 0  # 0.7000000000000001, by the way in which rouge-score computes F


def test_chinese_is_compared_unless_told_to_see_latin_only() -> None:
    texts = ["请解释什么是人工智能。", "请解释什么是人工智能？", "写一首关于秋天的诗。"]
    assert kept_by_index(texts, 0.7, "exact") == [texts[0], texts[2]]
    blind = SimilarityIndex(0.7, tokenizer="latin")
    assert all(blind.admit(text) is None for text in texts)


def test_an_admitted_text_counts_at_once_and_a_refused_one_never() -> None:
    index = SimilarityIndex(0.7)
    assert index.admit("one two three four") is None
    refused = index.admit("one two three four five")
    assert refused is not None and refused.number == 0 and refused.f == pytest.approx(8 / 9)
    assert len(index) == 1
    assert index.admit("one two three four") is not None


def test_a_query_leaves_the_index_as_it_is() -> None:
    index = SimilarityIndex(0.7)
    index.add("one two three")
    assert index.similar("never seen before") == []
    assert index.similar("one two three")[0].number == 0
    assert len(index) == 1


def test_unknown_tokens_are_not_taken_for_each_other() -> None:
    index = SimilarityIndex(0.3)
    index.add("x y")
    assert index.similar("p q r s") == []


def test_tokens_are_told_apart_whatever_their_number() -> None:
    # Tokens are characters inside, and 55,296 to 57,343 are halves of surrogate pairs.
    index = SimilarityIndex(0.7)
    index.add(" ".join(f"t{number}" for number in range(70_000)))
    for first in (55_290, 57_340, 65_530):
        text = " ".join(f"t{number}" for number in range(first, first + 10))
        assert index.similar(text) == []
        index.add(text)
        assert [match.f for match in index.similar(text)] == [1]


def test_texts_without_tokens_resemble_nothing() -> None:
    index = SimilarityIndex(0.7)
    assert index.admit("...") is None and index.admit("...") is None
    assert index.neighbours("...", 10).average == 0
    assert SimilarityIndex(0.7).neighbours("a", 10).nearest == []


@pytest.mark.parametrize("threshold", [0, 1, -0.5, 1.5])
def test_a_threshold_that_decides_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match=r"is not within \(0, 1\)"):
        SimilarityIndex(threshold)


def lines_of(name: str) -> list[dict]:
    return [
        json.loads(line) for line in (Path(REAL_DATA or "") / name).read_text("utf-8").splitlines()
    ]


@pytest.fixture(scope="module")
def real() -> dict[str, list[str]]:
    if REAL_DATA is None:
        pytest.skip("LLAMA_GPT4_REAL_DATA names no folder")
    return {
        "seeds": [task["instruction"] for task in lines_of("seed_tasks.jsonl")],
        "252": [task["instruction"] for task in lines_of("user_oriented_instructions.jsonl")],
        "80": [question["text"] for question in lines_of("vicuna_question_80.jsonl")],
    }


def index_of(texts: Sequence[str], threshold: float) -> SimilarityIndex:
    index = SimilarityIndex(threshold, tokenizer="latin", decisions="rouge_score")
    for text in texts:
        index.add(text)
    return index


def test_four_seeds_resemble_another_seed(real) -> None:
    index = index_of(real["seeds"], 0.7)
    others = [
        [match.f for match in index.similar(seed) if match.number != number]
        for number, seed in enumerate(real["seeds"])
    ]
    assert sum(map(bool, others)) == 4
    assert max(max(found, default=0) for found in others) == pytest.approx(0.8235, abs=5e-5)


def test_evaluation_sets_resemble_the_seeds_as_published(real) -> None:
    close, closer = index_of(real["seeds"], 0.5), index_of(real["seeds"], 0.7)
    assert [n for n, text in enumerate(real["252"]) if closer.similar(text)] == [32, 89, 124]
    assert sum(bool(close.similar(text)) for text in real["252"]) == 15
    assert sum(bool(close.similar(text)) for text in real["80"]) == 0


def altered(texts: Sequence[str], count: int) -> Iterator[str]:
    """`texts` with some words exchanged, as unlike as a teacher's instructions may be."""
    draw = random.Random(7)
    words = [word for text in texts for word in text.split()]
    for _ in range(count):
        text = draw.choice(texts).split()
        for place in draw.sample(range(len(text)), len(text) // draw.randint(2, 5)):
            text[place] = draw.choice(words)
        yield " ".join(text)


@pytest.mark.parametrize("decisions", ["exact", "rouge_score"])
def test_real_instructions_are_kept_as_all_pairs_keep_them(real, decisions) -> None:
    texts = list(altered(real["seeds"] + real["80"], 300 if decisions == "rouge_score" else 800))
    expected = kept_by_all_pairs(texts, 0.7, decisions)
    assert kept_by_index(texts, 0.7, decisions) == expected
    assert len(texts) / 3 < len(expected) < len(texts)


def test_tokenizers_are_named() -> None:
    assert TOKENIZERS["latin"] is latin
    with pytest.raises(InputError, match="tokenizer=words is not one of latin, mixed"):
        SimilarityIndex(0.7, tokenizer="words")
