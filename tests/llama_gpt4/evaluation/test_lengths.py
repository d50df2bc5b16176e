"""Lengths of texts: words of both languages, the paper's bins, and what bins say of percentiles."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_gpt4.evaluation.lengths import (
    LENGTH_UNITS,
    LENGTH_UNITS_SAID,
    N_BINS,
    PERCENTILES,
    _bin,
    binned,
    longest_bounds,
    mean_bounds,
    percentile_bounds,
    percentiles,
    whitespace_words,
    words,
)

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("The cat sat, on - the mat.", 7),
        ("人工智能，是什么？", 7),
        ("用Python 3写代码。", 6),
        ("他说：“好——！”", 3),
        ("un café, naïve", 3),
        ("It is “so” — she said…", 6),
    ],
)
def test_a_chinese_character_is_a_word(text: str, expected: int) -> None:
    assert words(text) == expected


def test_whitespace_words_are_the_papers() -> None:
    assert whitespace_words("人工智能，是什么？ 好") == 2
    assert LENGTH_UNITS.keys() == LENGTH_UNITS_SAID.keys()


@given(st.text(st.characters(max_codepoint=127)))
def test_units_agree_on_ascii(text: str) -> None:
    assert words(text) == whitespace_words(text)


@given(st.lists(st.integers(0, 600), min_size=1))
def test_bins_bound_what_the_lengths_say(lengths: list[int]) -> None:
    within = [length for length in lengths if length <= 512]
    counts = binned(lengths)
    assert sum(counts) == len(within)
    if within:
        bounds = percentile_bounds(counts)
        for name, exact in percentiles(within).items():
            assert bounds[name].low <= exact <= bounds[name].high
        assert mean_bounds(counts).low <= np.mean(within) <= mean_bounds(counts).high
        assert longest_bounds(counts).low <= max(within) <= longest_bounds(counts).high


def test_a_length_is_in_the_bin_that_bounds_it() -> None:
    for length in range(513):
        bound = _bin(binned([length]).index(1))
        assert bound.low <= length <= bound.high


def published() -> dict[str, list[int]]:
    figures = json.loads((Path(REAL_DATA or "") / "paper_figures.json").read_text("utf-8"))
    return figures["fig1d_length_hist"]


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
@pytest.mark.parametrize(("model", "texts"), [("gpt4", 52_002), ("gpt3", 51_996)])
def test_published_bins_come_out_of_lengths_that_have_them(model: str, texts: int) -> None:
    counts = published()[model]
    assert len(counts) == N_BINS and sum(counts) == texts
    lengths = [
        length
        for place, n in enumerate(counts)
        for length in np.random.default_rng(place).integers(
            int(_bin(place).low), int(_bin(place).high), n, endpoint=True
        )
    ]
    assert binned(lengths) == counts


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_published_bins_bound_means_percentiles_and_the_longest() -> None:
    expected = {
        "gpt4": [(6, 10), (16, 20), (78, 82), (182, 186), (264, 268), (306, 310), (383, 387)],
        "gpt3": [(0, 5), (6, 10), (26, 31), (68, 72), (99, 103), (119, 124), (202, 206)],
    }
    counts = published()
    for model, bounds in expected.items():
        found = percentile_bounds(counts[model])
        assert [(found[f"p{p}"].low, found[f"p{p}"].high) for p in PERCENTILES] == bounds
    gpt4, gpt3 = mean_bounds(counts["gpt4"]), mean_bounds(counts["gpt3"])
    assert (round(gpt4.low, 1), round(gpt4.high, 1)) == (107.6, 111.8)
    assert (round(gpt3.low, 1), round(gpt3.high, 1)) == (42.0, 46.3)
    assert 2.3 <= gpt4.low / gpt3.high < gpt4.high / gpt3.low <= 2.7
    longest = [longest_bounds(counts[model]) for model in ("gpt4", "gpt3")]
    assert [(bound.low, bound.high) for bound in longest] == [(450, 455), (497, 501)]
