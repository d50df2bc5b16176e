"""Spearman's correlation: scipy's, within prompts and pooled, and of responses without scores."""

from pathlib import Path

import numpy as np
import pytest
from llama_gpt4_data.reward_correlation import correlation, spearman
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import Compared
from scipy.stats import spearmanr

from .reward_runs import reward_config, scored, write

RANDOM = np.random.default_rng(0)


def compared(folder: Path, records: list[dict[str, object]]) -> Compared:
    return prepare(reward_config(folder, f"data.files=[{write(folder, records)}]")).train


def test_it_is_scipys() -> None:
    for n in (3, 10, 200):
        x, y = RANDOM.normal(size=n), np.arange(n) // 2 + 1.0  # with ties
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert spearman(np.zeros(4), np.arange(4.0)) == 0


def test_constants_of_prompts_matter_to_the_pooled_one_alone(tmp_path: Path) -> None:
    scores = [RANDOM.choice(9, size=4, replace=False) + 1.0 for _ in range(30)]
    records = [
        scored(f"Question {i}?", *((f"answer {s}", s) for s in own)) for i, own in enumerate(scores)
    ]
    data = compared(tmp_path, records)
    exact = correlation(data, scores)
    assert exact and exact.within_prompts
    assert (exact.within_prompts.value, exact.pooled.value) == (pytest.approx(1), pytest.approx(1))
    moved = correlation(data, [own + 20 * (i % 3) for i, own in enumerate(scores)])
    assert moved and moved.within_prompts and moved.within_prompts.low == pytest.approx(1)
    assert moved.pooled.high < 0.6 and (moved.prompts, moved.responses) == (30, 120)


def test_of_two_responses_only_the_pooled_one_speaks(tmp_path: Path) -> None:
    found = correlation(
        compared(tmp_path, [scored(f"{i}?", ("yes", 9), ("no", i)) for i in range(5)]),
        [np.array([1.0, 0.0])] * 5,
    )
    assert found and found.within_prompts is None and found.pooled.value > 0.8


def test_an_order_is_no_score(tmp_path: Path) -> None:
    record = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
    assert correlation(compared(tmp_path, [record]), [np.array([1.0, 0.0])]) is None
