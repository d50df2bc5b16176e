"""Pairs as a reward model is judged by them, and the two rules that read no text."""

from pathlib import Path

import numpy as np
import pytest
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import Compared
from llama_gpt4_data.reward_pairs import (
    Pairs,
    leads_of,
    length_only,
    mean_over_prompts,
    pairs_of,
    right,
    source_only,
)

from .reward_runs import reward_config, write

LONG, SHORT = "a long answer, much longer", "short"


def answers(*given: tuple[str, str, float]) -> list[dict[str, object]]:
    return [{"response": text, "source": source, "score": score} for text, source, score in given]


RECORDS = [
    {"user_input": "One?", "responses_and_scores": answers((LONG, "b", 9), (SHORT, "a", 4))},
    {"user_input": "Two?", "responses_and_scores": answers((SHORT, "a", 9), (LONG, "b", 4))},
    {"user_input": "Three?", "responses_and_scores": answers(
        (LONG, "a", 9), (SHORT, "b", 6), (SHORT + "!", "b", 3))},
    {"prompt": "One?", "chosen": LONG, "rejected": SHORT,
     "chosen_model": "c", "rejected_model": "a"},
]  # fmt: skip
REWARDS = [np.array(own) for own in ([1.0, 0.0], [0.0, 1.0], [3.0, 1.0, 1.0], [2.0, 1.0])]


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    return prepare(reward_config(tmp_path, f"data.files=[{write(tmp_path, RECORDS)}]")).train


def test_a_pair_is_a_row(compared: Compared) -> None:
    pairs = pairs_of(compared)
    assert pairs.prompts.tolist() == [0, 1, 2, 2, 2, 0], "equal prompts are one"
    assert pairs.margins.tolist()[:5] == [5, 5, 3, 6, 3] and np.isnan(pairs.margins[5])
    assert pairs.sources.tolist() == ["a / b"] * 4 + ["b / b", "a / c"]
    assert pairs.first.tolist() == [-1, 1, 1, 1, 0, -1]
    assert pairs.longer.tolist() == [1, -1, 1, 1, -1, 1]


def test_equal_rewards_are_half_right(compared: Compared) -> None:
    assert right(leads_of(compared, REWARDS)).tolist() == [1, 0, 1, 1, 0.5, 1]


def test_rules_follow_what_won_in_training(compared: Compared) -> None:
    pairs = pairs_of(compared)
    assert length_only(pairs, pairs).tolist() == [1, 0, 1, 1, 0, 1], "longer won 4 of 6"
    assert source_only(pairs, pairs).tolist() == [0, 1, 1, 1, 0.5, 1], "a won 3 of 4 against b"


def test_sources_that_never_met_in_training_are_not_told_apart(tmp_path: Path) -> None:
    file = write(tmp_path, RECORDS[3:], "other.json")
    train = pairs_of(prepare(reward_config(tmp_path, f"data.files=[{file}]")).train)
    file = write(tmp_path, RECORDS)
    pairs = pairs_of(prepare(reward_config(tmp_path, f"data.files=[{file}]")).train)
    assert source_only(pairs, train).tolist() == [0.5] * 5 + [1]


def test_without_training_data_the_other_prompts_decide(compared: Compared) -> None:
    pairs = pairs_of(compared)
    # Without its own pairs of prompt 2, a has won once and lost once against b.
    assert source_only(pairs, None).tolist() == [0, 1, 0.5, 0.5, 0.5, 0.5]


def test_a_tossed_coin_is_half_right_about_itself() -> None:
    """Leaving one of as many wins as losses out, the others always say the opposite of it."""
    pairs = random_pairs(np.array([1.0, -1.0] * 50))
    assert length_only(pairs, None).mean() == 0.5


def test_leaving_one_out_is_as_good_as_the_rule() -> None:
    random = np.random.default_rng(0)
    pairs = random_pairs(np.sign(random.random(500) - 0.3))
    assert length_only(pairs, None).mean() == pytest.approx((pairs.longer > 0).mean())


def test_the_interval_draws_prompts() -> None:
    values, prompts = np.array([1.0, 0.0, 1.0, 1.0, 0.0]), np.array([7, 2, 4, 9, 11])
    once = mean_over_prompts(values, prompts)
    assert once == mean_over_prompts(np.repeat(values, 8), np.repeat(prompts, 8))
    weighted = mean_over_prompts(values, prompts, np.array([1.0, 3.0, 0.0, 0.0, 0.0]))
    assert weighted.value == 0.25


def random_pairs(longer: np.ndarray) -> Pairs:
    n, names = len(longer), np.full(len(longer), "a / b")
    ones = np.ones(n)
    return Pairs(np.arange(n), ones, longer, names, ones, names, names)
