"""Pairs out of comparisons: by score alone, ties and empty answers counted."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_gpt4_data.comparisons import Comparison, Response
from llama_gpt4_data.pairs import Paired, paired


def comparison(
    *scores: float | None, texts: list[str] | None = None, sources: str = "abcdef"
) -> Comparison:
    texts = texts or [f"answer {n}" for n in range(len(scores))]
    return Comparison(
        turns=[{"role": "user", "content": "Why?"}],
        responses=[
            Response(text=text, source=source, score=score)
            for text, source, score in zip(texts, sources, scores, strict=False)
        ],
        id=None,
        subset=None,
        licence=None,
        file="c.json",
        index=0,
    )


def pair(*comparisons: Comparison, keep: bool = True) -> Paired:
    return paired(comparisons, keep_out_of_range=keep)


@pytest.mark.parametrize(
    "scores, n_pairs, n_ties",
    [((9, 9, 4), 2, 1), ((9, 8, 4), 3, 0), ((9, 9, 9), 0, 3), ((9, 4), 1, 0), ((9,), 0, 0)],
)
def test_k_answers_make_up_to_k_choose_2_pairs(
    scores: tuple[float, ...], n_pairs: int, n_ties: int
) -> None:
    result = pair(comparison(*scores))
    assert len(result.pairs[0]) == result.candidates["pairs"] == n_pairs
    assert result.candidates["ties"] == n_ties


def test_the_order_is_that_of_the_scores_and_never_of_the_places() -> None:
    """GPT-4's answer stood first in the published pairs even where it was the worse one."""
    [[only]] = pair(comparison(4.0, 8.5)).pairs
    assert (only.chosen.source, only.rejected.source, only.margin) == ("b", "a", 4.5)


def test_without_scores_the_order_is_that_of_the_places() -> None:
    result = pair(comparison(None, None))
    [[only]] = result.pairs
    assert (only.chosen.source, only.margin) == ("a", None) and result.n_unscored == 1


def test_empty_answers_make_no_pair_and_are_counted() -> None:
    result = pair(comparison(9, 1, 4, texts=["good", " \n", "bad"]))
    assert [(p.chosen.text, p.rejected.text) for p in result.pairs[0]] == [("good", "bad")]
    assert result.responses == {"used": 2, "empty": 1}
    assert [r.text for r in result.comparisons[0].responses] == ["good", "bad"]


def test_scores_outside_the_scale_are_flagged_and_dropped_if_wanted() -> None:
    kept = pair(comparison(9, 0, 11))
    assert kept.n_out_of_range == 2 and kept.candidates["pairs"] == 3
    dropped = pair(comparison(9, 0, 11), keep=False)
    assert dropped.n_out_of_range == 2 and dropped.candidates.total() == 0
    assert dropped.responses == {"used": 1, "out_of_range": 2}


def test_one_text_with_two_scores_is_no_pair() -> None:
    result = pair(comparison(9, 8, texts=["same", "same"]))
    assert result.pairs == [[]] and result.candidates == {"same_text": 1}
    assert pair(comparison(9, 9, texts=["same", "same"])).candidates == {"ties": 1}


def test_ties_are_counted_by_the_two_sources() -> None:
    result = pair(comparison(9, 9, 4, sources="xyz"), comparison(8, 8, sources="yx"))
    assert result.ties_between == {("x", "y"): 2}


@given(st.lists(st.sampled_from([0, 1, 4, 7.5, 9, 10]), max_size=6))
def test_candidates_add_up_and_the_chosen_has_more_points(scores: list[float]) -> None:
    result = pair(comparison(*scores))
    assert result.candidates.total() == len(list(combinations(scores, 2)))
    assert all(p.margin is not None and p.margin > 0 for p in result.pairs[0])
    wanted = sorted(abs(a - b) for a, b in combinations(scores, 2) if a != b)
    assert sorted(p.margin or 0 for p in result.pairs[0]) == wanted
