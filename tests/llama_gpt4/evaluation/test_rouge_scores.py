"""The quick scores are those of rouge-score, whose means are by the length of the reference."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.scoring import BootstrapAggregator, Score

from llama_gpt4.evaluation.rouge_scores import (
    ALL,
    BUCKETS,
    MEASURES,
    bucket_of,
    bucketed,
    f_scores,
    score_questions,
)
from llama_gpt4.rouge import TOKENIZERS, latin, mixed, rouge_of_tokens

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
ORACLE = RougeScorer(list(MEASURES))
# Few words, so that texts share some of them, and words stand beside themselves.
SENTENCES = st.lists(st.sampled_from(["the", "The", "cat,", "sat-on", "a", "é", "猫猫"])).map(
    " ".join
)
TEXTS = st.one_of(st.text(), SENTENCES)


@settings(max_examples=50)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12))
def test_a_whole_evaluation_is_that_of_rouge_score(pairs: list[tuple[str, str]]) -> None:
    references, predictions = map(list, zip(*pairs, strict=True))
    scores = score_questions(references, [[text] for text in predictions], latin)
    theirs = np.array(
        [
            [ORACLE.score(reference, prediction)[measure].fmeasure for measure in MEASURES]
            for reference, prediction in pairs
        ]
    )
    np.testing.assert_allclose(scores, theirs, rtol=0, atol=1e-12)
    assert (scores[:, 2] <= scores[:, 0]).all()
    lengths = [len(reference.split()) for reference in references]
    buckets = {bucket.name: bucket for bucket in bucketed(lengths, scores[None], None)}
    for name, (first, last) in [*BUCKETS.items(), (ALL, (0, None))]:
        inside = [first <= n and (last is None or n <= last) for n in lengths]
        assert buckets[name].items == sum(inside)
        if any(inside):
            means = [mean.plain.value for mean in buckets[name].means[0]]
            np.testing.assert_allclose(means, theirs[inside].mean(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tokenize", TOKENIZERS.values())
@given(st.data())
def test_quick_scores_are_the_plain_ones(tokenize, data: st.DataObject) -> None:
    reference, prediction = tokenize(data.draw(TEXTS)), tokenize(data.draw(TEXTS))
    plain = rouge_of_tokens(reference, prediction)
    assert f_scores(reference, prediction) == (plain.rouge1.f, plain.rouge2.f, plain.rouge_l.f)


def test_a_pair_of_equal_tokens_counts_each_time() -> None:
    assert f_scores(list("aaa"), list("aaaa"))[1] == 2 * 2 / (2 + 3)


@pytest.mark.parametrize(("reference", "prediction"), [("", ""), ("a 猫", ""), ("", "a 猫")])
def test_without_tokens_scores_are_zero(reference: str, prediction: str) -> None:
    assert score_questions([reference], [[prediction]], mixed).tolist() == [[0, 0, 0]]


def test_several_answers_to_a_question_are_one_unit() -> None:
    one = score_questions(["a b"], [["a b"]], mixed)
    other = score_questions(["a b"], [["c"]], mixed)
    assert np.array_equal(score_questions(["a b"], [["a b", "c"]], mixed), (one + other) / 2)


def test_edges_are_in_the_published_buckets() -> None:
    assert [bucket_of(length) for length in (0, 2, 3, 5, 6, 10, 11)] == [
        "0-2", "0-2", "3-5", "3-5", "6-10", "6-10", "10-"
    ]  # fmt: skip


def test_all_is_the_mean_of_the_buckets_by_their_sizes() -> None:
    random = np.random.default_rng(3)
    buckets = bucketed(random.integers(0, 20, 400).tolist(), random.random((2, 400, 3)), 0)
    *parts, whole = buckets
    assert sum(part.items for part in parts) == whole.items == 400
    for model in range(2):
        for k in range(3):
            means = [part.items * part.means[model][k].plain.value for part in parts]
            assert sum(means) / 400 == pytest.approx(whole.means[model][k].plain.value)


def test_the_median_is_that_of_rouge_scores_aggregator() -> None:
    scores = np.random.default_rng(0).beta(0.3, 0.6, (1, 300, 3))
    *_, whole = bucketed([1] * 300, scores, None)
    aggregator = BootstrapAggregator(n_samples=2000)
    for f in scores[0, :, 0]:
        aggregator.add_scores({"rouge1": Score(f, f, f)})
    theirs, ours = aggregator.aggregate()["rouge1"], whole.means[0][0]
    error = scores[0, :, 0].std() / 300**0.5  # of the mean; a quantile of 2,000 has a tenth of it
    assert ours.median == pytest.approx(theirs.mid.fmeasure, abs=error / 5)
    assert ours.plain.low == pytest.approx(theirs.low.fmeasure, abs=error / 4)
    assert ours.plain.high == pytest.approx(theirs.high.fmeasure, abs=error / 4)


def test_differences_are_paired() -> None:
    scores = np.random.default_rng(0).random((1, 200, 3))
    buckets = bucketed([4] * 200, np.concatenate([scores, scores + 0.1]), 0)
    none, better = buckets[-1].differences
    assert [estimate.value for estimate in none] == [0, 0, 0]
    for estimate in better:  # however wide the interval of either
        assert (estimate.low, estimate.high) == (pytest.approx(0.1), pytest.approx(0.1))


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_published_means_by_bucket_are_those_of_all() -> None:
    folder = Path(REAL_DATA or "") / "unnatural_results"
    published = {
        name: {row["Model"]: row for row in json.loads((folder / f"len{name}.json").read_text())}
        for name in (*BUCKETS, ALL)
    }
    for model, whole in published[ALL].items():
        rows = [published[name][model] for name in BUCKETS]
        sizes = [row["NumInstance"] for row in rows]
        assert sizes == [5089, 868, 936, 2107] and sum(sizes) == whole["NumInstance"] == 9000
        for measure in MEASURES:
            pooled = np.average([row[measure] for row in rows], weights=sizes)
            assert pooled == pytest.approx(whole[measure], abs=5e-4)
            assert pooled != whole[measure]  # medians of the bootstrap: plain means would be equal


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_published_differences_are_those_that_the_figure_prints() -> None:
    printed = {
        "0-2": ("+0.0562", "-0.043"),
        "3-5": ("+0.0387", "-0.009"),
        "6-10": ("-0.012", "+0.0132"),
        "10-": ("-0.076", "-0.004"),
    }
    figures = json.loads((Path(REAL_DATA or "") / "paper_figures.json").read_text("utf-8"))
    means = figures["fig6_rouge"]
    for name, notes in printed.items():
        for model, note in zip(("Alpaca", "Alpaca-GPT4"), notes, strict=True):
            apart = means[model][name]["rougeL"] - means["GPT4"][name]["rougeL"]
            assert f"{apart:+.6f}".startswith(note)
    legend = [f"{means[model][ALL]['rougeL']:.2f}" for model in ("Alpaca", "Alpaca-GPT4", "GPT4")]
    assert legend == ["0.39", "0.34", "0.37"]
