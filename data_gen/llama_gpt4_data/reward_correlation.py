"""Spearman's correlation of rewards with the raw scores: within prompts, and pooled over all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from llama_gpt4.statistics import Estimate, estimate
from llama_gpt4_data.reward_examples import Compared
from llama_gpt4_data.reward_pairs import Floats, Ints, mean_over_prompts, prompt_numbers

FEWEST = 3
"""Responses of a prompt whose order is looked at; of two, accuracy says all."""


@dataclass(frozen=True)
class Correlation:
    within_prompts: Estimate | None
    """The mean over the prompts with `FEWEST` scored responses or more; None without any."""
    prompts: int
    """That have as many."""
    pooled: Estimate
    """Over all scored responses: whether rewards can be compared between prompts. A ranking loss
    does not ask for that, as it leaves a constant free for each prompt."""
    responses: int


def correlation(compared: Compared, rewards: Sequence[Floats]) -> Correlation | None:
    """Of the responses with scores, `rewards` (K,) of each prompt; None where there are none."""
    scored = [i for i in range(compared.n) if not np.isnan(compared.scores_of(i)).any()]
    if not scored:
        return None
    numbers = prompt_numbers(compared)
    scores = [compared.scores_of(i) for i in scored]
    long = [i for i in scored if len(compared.scores_of(i)) >= FEWEST]
    return Correlation(
        within_prompts=_within(compared, rewards, long, numbers) if long else None,
        prompts=len(set(numbers[long].tolist())),
        pooled=_pooled(
            np.concatenate([rewards[i] for i in scored]),
            np.concatenate(scores),
            np.repeat(numbers[scored], [len(own) for own in scores]),
        ),
        responses=sum(map(len, scores)),
    )


def spearman(x: Floats, y: Floats) -> float:
    """Pearson's correlation of the ranks, ties in the middle of theirs; 0 where one is constant and
    tells nothing about an order. Else what `scipy.stats.spearmanr` gives, without its test, which
    would be most of a bootstrap's cost."""
    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def _within(
    compared: Compared, rewards: Sequence[Floats], places: Sequence[int], numbers: Ints
) -> Estimate:
    found = np.array([spearman(rewards[i], compared.scores_of(i)) for i in places])
    return mean_over_prompts(found, numbers[list(places)])


def _pooled(rewards: Floats, scores: Floats, numbers: Ints) -> Estimate:
    order = np.argsort(numbers, kind="stable")
    rewards, scores = rewards[order], scores[order]
    _, starts, counts = np.unique(numbers[order], return_index=True, return_counts=True)

    def of(units: Ints) -> float:
        """All responses of the prompts that were drawn, as often as they were."""
        n = counts[units]
        before = np.cumsum(n) - n
        places = np.repeat(starts[units] - before, n) + np.arange(n.sum())
        return spearman(rewards[places], scores[places])

    return estimate(of, len(starts))
