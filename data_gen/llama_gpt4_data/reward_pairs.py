"""The pairs of prepared comparisons, a row each, as a reward model is judged by them; and what two
rules that read no text make of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llama_gpt4.statistics import Estimate, ratio
from llama_gpt4_data.reward_examples import Compared

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a better and a worse response."""

    prompts: Ints
    """(P,) whose responses they are. Equal prompts of several records are one: they are not
    independent of each other."""
    margins: Floats
    """(P,) points of score between the two; NaN without scores."""
    longer: Floats
    """(P,) 1 where the better response has more tokens, -1 where it has less, else 0."""
    sources: Texts
    """(P,) the two sources in one order, as `a / b`."""
    first: Floats
    """(P,) 1 where the better response is of the first of `sources`, -1 of the second, 0 where
    they are one."""
    languages: Texts
    subsets: Texts
    """(P,) empty where the record names none."""


def pairs_of(compared: Compared) -> Pairs:
    """All pairs, in the order of the prompts."""
    numbers = prompt_numbers(compared)
    rows: list[tuple[Any, ...]] = []
    for i in range(compared.n):
        lengths, scores = compared.answer_lengths_of(i), compared.scores_of(i)
        sources = compared.sources_of(i)
        kind = (compared.language_of(i), compared.subset_of(i) or "")
        for better, worse in compared.pairs_of(i).tolist():
            a, b = sources[better], sources[worse]
            longer = np.sign(lengths[better] - lengths[worse])
            margin = scores[better] - scores[worse]
            names = " / ".join(sorted((a, b)))
            rows.append((numbers[i], margin, longer, names, int(a < b) - int(a > b), *kind))
    columns = zip(*rows, strict=True)
    dtypes = (np.int64, np.float64, np.float64, np.str_, np.float64, np.str_, np.str_)
    return Pairs(*(np.array(column, t) for column, t in zip(columns, dtypes, strict=True)))


def prompt_numbers(compared: Compared) -> Ints:
    """(n,) the same number for records with the same prompt."""
    seen: dict[bytes, int] = {}
    keys = (compared.prompt_of(i).tobytes() for i in range(compared.n))
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)


def leads_of(compared: Compared, rewards: Sequence[Floats]) -> Floats:
    """(P,) by how much the better response of each pair leads; `rewards` (K,) of each prompt."""
    found = [
        reward[pairs[:, 0]] - reward[pairs[:, 1]]
        for i, reward in enumerate(rewards)
        for pairs in [compared.pairs_of(i)]
    ]
    return np.concatenate(found)


def right(leads: Floats) -> Floats:
    """(P,) 1 where the better response leads, 0 where the worse one does, else a half."""
    return (1 + np.sign(leads)) / 2


def mean_over_prompts(values: Floats, prompts: Ints, weights: Floats | None = None) -> Estimate:
    """The weighted mean of `values` (P,), with an interval that draws their `prompts` (P,)."""
    weights = np.ones(len(values)) if weights is None else weights
    wholes = np.bincount(prompts, weights).astype(np.float64)
    parts = np.bincount(prompts, values * weights).astype(np.float64)
    there = wholes > 0
    return ratio(parts[there], wholes[there])


def length_only(pairs: Pairs, train: Pairs | None) -> Floats:
    """(P,) how right it is to take the longer response, or always the shorter one, whichever won
    more pairs of `train`."""
    everywhere = np.zeros(len(pairs.prompts), np.str_)
    totals = None if train is None else {"": float(train.longer.sum())}
    return _majority(everywhere, pairs.longer, pairs.prompts, totals)


def source_only(pairs: Pairs, train: Pairs | None) -> Floats:
    """(P,) how right it is to take the response of the source that won more of the pairs of these
    two sources in `train`. Two responses of one source are not told apart, nor those of sources
    that never met."""
    totals = None if train is None else _totals(train.sources, train.first)
    return _majority(pairs.sources, pairs.first, pairs.prompts, totals)


def _totals(groups: Texts, votes: Floats) -> dict[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for group, vote in zip(groups.tolist(), votes.tolist(), strict=True):
        found[group] += vote
    return found


def _majority(
    groups: Texts, votes: Floats, prompts: Ints, totals: Mapping[str, float] | None
) -> Floats:
    """How right the majority of a pair's group is about its vote, 1 or -1.

    Without `totals` of other data the other prompts are asked. A group that only the pair's own
    prompt decides, one way or the other, says nothing: so a tossed coin is right about half of the
    time, where the majority of the others would nearly always be wrong about it.
    """
    if totals is not None:
        ways = np.sign([totals.get(group, 0.0) for group in groups.tolist()])
        return right(ways * votes)
    _, group = np.unique(groups, return_inverse=True)
    _, own = np.unique(group * (prompts.max() + 1) + prompts, return_inverse=True)
    all_votes = np.bincount(group, votes)[group]
    others = all_votes - np.bincount(own, votes)[own]
    ways = np.where(np.sign(others) == np.sign(all_votes), np.sign(all_votes), 0.0)
    return right(ways * votes)
