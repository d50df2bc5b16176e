"""What votes say: shares of the votes as in the paper's Figure 3, how sure they are, and how far
the voters agree.

The sign test (two-sided, exact, over the votes that are no ties) takes votes to be independent,
which votes on one question are not; the intervals draw questions with all their votes. Agreement is
Krippendorff's alpha for nominal data (Krippendorff 2004, chapter 11).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from llama_gpt4 import statistics
from llama_gpt4.evaluation.ballot import TIE
from llama_gpt4.evaluation.votes import Study, Vote
from llama_gpt4.statistics import Floats

OUTCOMES = ("first", "second", TIE)
SPLIT = "split"
"""The majority of a question on which no outcome has more votes than each other."""


def counts_of(study: Study, votes: Sequence[Vote]) -> Floats:
    """Votes of each question for the first model, the second, and neither: (questions, 3)."""
    place = {study.first: 0, study.second: 1, TIE: 2}
    rows: dict[str, Counter[int]] = {}
    for vote in votes:
        rows.setdefault(vote.question_id, Counter())[place[vote.choice]] += 1
    return np.array([[row[n] for n in range(3)] for row in rows.values()], float)


def summary(study: Study, votes: Sequence[Vote]) -> dict[str, Any]:
    """All numbers of one criterion; `votes` are those that count, at least one."""
    counts = counts_of(study, votes)
    first, second, ties = counts.sum(0)
    per_question = counts.sum(1)
    shares = [statistics.ratio(counts[:, n], per_question) for n in range(3)]
    difference = statistics.ratio(counts[:, 0] - counts[:, 1], per_question)
    known = [vote for vote in votes if vote.left is not None and vote.choice != TIE]
    return {
        "votes": len(votes),
        "questions": len(counts),
        "voters": len({vote.voter for vote in votes}),
        "counts": dict(zip(OUTCOMES, map(int, (first, second, ties)), strict=True)),
        "shares": dict(zip(OUTCOMES, map(_as_json, shares), strict=True)),
        "first_minus_second": _as_json(difference),
        "sign_test_p": sign_test(int(first), int(second)),
        "alpha": alpha(counts),
        "majority": majorities(counts),
        "left_of_decided": {
            "left": sum(vote.choice == vote.left for vote in known), "decided": len(known)
        },
    }  # fmt: skip


def sign_test(first: int, second: int) -> float | None:
    """The two-sided p of so uneven a split if both were as likely; None without a decided vote."""
    n = first + second
    ways = tail = 1  # n over 0; each n over k follows from the one before, in whole numbers
    for k in range(min(first, second)):
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**n) if n else None


def alpha(counts: Floats) -> float | None:
    """Krippendorff's alpha of `counts` (questions, outcomes). None where it is not defined: no
    question has two votes, or all votes that can be compared are the same."""
    import krippendorff

    compared = counts[counts.sum(1) > 1]
    if (compared.sum(0) > 0).sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=compared, level_of_measurement="nominal"))


def majorities(counts: Floats) -> dict[str, int]:
    """Questions by the outcome with the most votes."""
    most = counts.max(1, keepdims=True)
    alone = (counts == most).sum(1) == 1
    won = np.bincount(counts.argmax(1)[alone], minlength=3)
    return dict(zip((*OUTCOMES, SPLIT), map(int, (*won, (~alone).sum())), strict=True))


def _as_json(estimate: statistics.Estimate) -> dict[str, float]:
    return {"share": estimate.value, "low": estimate.low, "high": estimate.high}
