"""What votes say."""

import numpy as np
import pytest
from scipy.stats import binomtest

from llama_gpt4.evaluation.vote_statistics import alpha, majorities, sign_test, summary
from llama_gpt4.evaluation.votes import Study, Vote

STUDY = Study("tuned", "base", 0)


def vote(question: str, voter: str, choice: str, left: str | None = None) -> Vote:
    return Vote(question + voter, question, voter, "honesty", choice, left, "2023")


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (381, 139, 5e-27), (183, 221, 0.066), (116, 179, 0.0003),
        (323, 333, 0.73), (286, 283, 0.93), (239, 267, 0.23),
    ],
)  # fmt: skip
def test_sign_tests_of_the_paper(first: int, second: int, p: float) -> None:
    """SPEC 8 row 28."""
    digits = len(f"{p:e}".split("e")[0].rstrip("0").replace(".", ""))
    assert float(f"{sign_test(first, second):.{digits - 1}e}") == pytest.approx(p)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (3, 3), (0, 70), (2, 9), (900, 1100)])
def test_sign_tests_are_scipys(first: int, second: int) -> None:
    expected = binomtest(first, first + second, 0.5).pvalue
    assert sign_test(first, second) == pytest.approx(expected, rel=1e-10)
    assert sign_test(second, first) == sign_test(first, second)


def test_without_a_decided_vote_there_is_no_sign_test() -> None:
    assert sign_test(0, 0) is None


def test_alpha_is_krippendorffs() -> None:
    """By hand from its definition: 1 - observed over expected disagreement, over pairs of votes."""
    counts = np.array([[2, 1, 0], [0, 3, 0], [1, 1, 0], [1, 0, 0]], float)
    # The last question has one vote: nothing to compare. 8 votes remain: 3 first, 5 second.
    observed = (2 * 2 / 2 + 0 + 2 / 1) / 8
    expected = 2 * 3 * 5 / (8 * 7)
    assert alpha(counts) == pytest.approx(1 - observed / expected)


def test_alpha_of_votes_without_a_difference_or_a_pair_is_not_defined() -> None:
    assert alpha(np.array([[3.0, 0, 0], [2, 0, 0]])) is None
    assert alpha(np.array([[1.0, 0, 0], [0, 1, 0]])) is None


def test_a_majority_is_one_outcome_alone() -> None:
    counts = np.array([[2, 1, 0], [0, 0, 3], [1, 1, 1], [0, 2, 2], [0, 1, 0]], float)
    assert majorities(counts) == {"first": 1, "second": 1, "tie": 1, "split": 2}


def test_shares_are_of_votes_and_intervals_of_questions() -> None:
    votes = [vote("q", f"v{n}", "tuned", "tuned") for n in range(8)]
    votes += [vote("r", "v0", "base", "tuned"), vote("s", "v0", "tie", "base")]
    found = summary(STUDY, votes)
    assert found["counts"] == {"first": 8, "second": 1, "tie": 1}
    assert found["shares"]["first"]["share"] == pytest.approx(0.8)
    # Three questions: some resamples have the first one alone, some not at all.
    assert found["shares"]["first"]["low"] == 0 and found["shares"]["first"]["high"] == 1
    assert found["left_of_decided"] == {"left": 8, "decided": 9}
    assert (found["votes"], found["questions"], found["voters"]) == (10, 3, 8)
