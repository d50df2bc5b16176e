"""What a reward model has learnt: how often it agrees with the judge on prompts that it has not
seen, by pair of sources, beside a rule that looks at nothing but length (R-18)."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llama_gpt4_data.reward_examples import Compared

ALL = "all"


@dataclass(frozen=True)
class Agreement:
    """Shares of pairs of which the better response was found; one that is not told apart counts
    half."""

    sources: str
    """The two sources, or `all`."""
    pairs: int
    accuracy: float
    """By the rewards."""
    length_only: float
    """By the length of the response alone: the longer, or the shorter if that was the better rule
    on the training data."""


def agreements(
    compared: Compared, rewards: Sequence[npt.NDArray[np.float64]], longer_is_better: bool
) -> list[Agreement]:
    """Over all pairs, then by pair of sources; `rewards` (K,) are those of each prompt."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for i in range(compared.n):
        lengths = compared.answer_lengths_of(i).astype(np.float64)
        sources = compared.sources_of(i)
        for better, worse in compared.pairs_of(i).tolist():
            right = _right(rewards[i][better] - rewards[i][worse])
            by_length = _right(lengths[better] - lengths[worse])
            outcome = (right, by_length if longer_is_better else 1 - by_length)
            found[ALL].append(outcome)
            found[" / ".join(sorted((sources[better], sources[worse])))].append(outcome)
    order = sorted(found, key=lambda key: (key != ALL, -len(found[key]), key))
    return [_agreement(key, found[key]) for key in order]


def longer_wins(compared: Compared) -> float:
    """Share of the pairs whose better response is the longer one."""
    outcomes = [
        _right(float(lengths[better] - lengths[worse]))
        for i in range(compared.n)
        for lengths in [compared.answer_lengths_of(i)]
        for better, worse in compared.pairs_of(i).tolist()
    ]
    return float(np.mean(outcomes))


def _right(lead: float) -> float:
    return 0.5 if lead == 0 else float(lead > 0)


def _agreement(sources: str, outcomes: list[tuple[float, float]]) -> Agreement:
    accuracy, length_only = np.mean(outcomes, axis=0).tolist()
    return Agreement(sources, len(outcomes), accuracy, length_only)


def table(found: Sequence[Agreement]) -> str:
    """For the terminal."""
    width = max(len("sources"), *(len(row.sources) for row in found))
    lines = [f"{'sources':<{width}}  pairs  accuracy  length only"]
    lines += [
        f"{row.sources:<{width}}  {row.pairs:5}  {row.accuracy:8.3f}  {row.length_only:11.3f}"
        for row in found
    ]
    return "\n".join(lines)


def store(path: Path, found: Sequence[Agreement], prompts: int) -> None:
    """Write `path`, as a whole or not at all."""
    aside = path.with_suffix(".partial")
    content = {"prompts": prompts, "agreement": [asdict(row) for row in found]}
    aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    aside.replace(path)
