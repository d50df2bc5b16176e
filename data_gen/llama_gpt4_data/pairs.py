"""Pairs of a better and a worse answer, out of comparisons.

K answers with scores make up to K (K - 1) / 2 pairs: (9, 9, 4) makes two, (9, 8, 4) three, and
(9, 9, 9) none. Nobody wins a tie.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from llama_gpt4_data.comparisons import Comparison, Response

UNKNOWN = "unknown"
"""The source of an answer whose file names none."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two answers to one prompt, of which one is better."""

    comparison: Comparison
    chosen: Response
    rejected: Response

    @property
    def margin(self) -> float | None:
        """By how many points; None without scores."""
        if self.chosen.score is None or self.rejected.score is None:
            return None
        return self.chosen.score - self.rejected.score


@dataclass
class Paired:
    """Comparisons with their pairs, and what became of all answers and candidates."""

    comparisons: list[Comparison] = field(default_factory=list)
    """Those that came in, with the answers that can be used."""
    pairs: list[list[Pair]] = field(default_factory=list)
    """Of each comparison."""
    responses: Counter[str] = field(default_factory=Counter)
    """`used`, `empty`, `out_of_range`: dropped as such."""
    candidates: Counter[str] = field(default_factory=Counter)
    """`pairs`, `ties`, `same_text`: one answer with two scores."""
    n_out_of_range: int = 0
    """Scores outside the scale, kept or not."""
    n_unscored: int = 0
    """Comparisons whose order is that of the places, as the file has no scores."""
    ties_between: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By the two sources."""


def paired(comparisons: Sequence[Comparison], *, keep_out_of_range: bool) -> Paired:
    """All pairs of `comparisons`; answers that are empty make none."""
    result = Paired()
    for comparison in comparisons:
        used = []
        for response in comparison.responses:
            result.n_out_of_range += response.is_out_of_range
            state = _state(response, keep_out_of_range)
            result.responses[state] += 1
            if state == "used":
                used.append(response)
        comparison = replace(comparison, responses=used)
        result.n_unscored += not comparison.is_scored
        result.comparisons.append(comparison)
        result.pairs.append(_pairs(comparison, result))
    return result


def _state(response: Response, keep_out_of_range: bool) -> str:
    if response.is_empty:
        return "empty"
    return "out_of_range" if response.is_out_of_range and not keep_out_of_range else "used"


def _pairs(comparison: Comparison, result: Paired) -> list[Pair]:
    found = []
    for first, second in combinations(comparison.responses, 2):
        if first.score == second.score and first.score is not None:
            result.candidates["ties"] += 1
            result.ties_between[source_pair(first, second)] += 1
        elif first.text == second.text:
            result.candidates["same_text"] += 1
        else:
            result.candidates["pairs"] += 1
            chosen, rejected = _ordered(first, second)
            found.append(Pair(comparison=comparison, chosen=chosen, rejected=rejected))
    return found


def _ordered(first: Response, second: Response) -> tuple[Response, Response]:
    """The better one first."""
    if first.score is None or second.score is None or first.score > second.score:
        return first, second
    return second, first


def source_pair(first: Response, second: Response) -> tuple[str, str]:
    """The two sources in one order, however the answers stand."""
    one, other = sorted(response.source or UNKNOWN for response in (first, second))
    return one, other
