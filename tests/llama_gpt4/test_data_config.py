"""Policies of findings, and what is refused of them."""

from dataclasses import fields

import pytest

from llama_gpt4.audit import RULES
from llama_gpt4.data_config import DataPolicy
from llama_gpt4.errors import InputError

POLICY = dict.fromkeys(RULES, "drop")


def test_every_rule_has_a_policy_and_every_policy_a_rule() -> None:
    assert {field.name for field in fields(DataPolicy)} == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_what_a_policy_may_be(rule: str) -> None:
    for policy in ("drop", "error"):
        assert getattr(DataPolicy(**POLICY | {rule: policy}), rule) == policy
    with pytest.raises(InputError, match=rf"data\.policy\.{rule}=warn is not one of "):
        DataPolicy(**POLICY | {rule: "warn"})


@pytest.mark.parametrize("rule", RULES)
def test_what_cannot_be_learned_cannot_be_kept(rule: str) -> None:
    if rule not in ("broken_record", "empty_output", "prompt_fills_row", "too_long"):
        assert getattr(DataPolicy(**POLICY | {rule: "keep"}), rule) == "keep"
        return
    with pytest.raises(InputError, match="=keep is not one of drop, error"):
        DataPolicy(**POLICY | {rule: "keep"})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"data\.weights=\[1\.0\] for 2 data\.files: give one number for each, or none"),
        ([1.0, 1.0, 1.0], r"for 2 data\.files: give one number for each, or none"),
        ([1.0, 0.0], r"data\.weights\[1\]=0 uses nothing of b\.json: leave it out of data\.files"),
        ([-1.0, 1.0], r"data\.weights\[0\]=-1 is not above 0 and at most 1000"),
        ([float("nan"), 1.0], r"data\.weights\[0\]=nan is not above 0"),
        ([1.0, float("inf")], r"data\.weights\[1\]=inf is not above 0"),
        ([1.0, 1001.0], r"data\.weights\[1\]=1001 is not above 0 and at most 1000"),
    ],
)
def test_a_weight_that_makes_no_epoch_is_refused(train_config, weights, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_config(**{"data.files": ["a.json", "b.json"], "data.weights": weights})


def test_a_file_with_two_weights_is_refused(train_config) -> None:
    files = {"data.files": ["a.json", "b.json", "a.json"]}
    train_config(**files)
    with pytest.raises(
        InputError, match=r"has a\.json twice: .* name it once, and give it the sum"
    ):
        train_config(**files, **{"data.weights": [1.0, 1.0, 2.0]})


@pytest.mark.parametrize("rouge_l", [0.0, 1.0, -1.0])
def test_the_threshold_is_within_0_and_1(train_config, rouge_l: float) -> None:
    with pytest.raises(InputError, match=r"data\.decontaminate_rouge_l=.* is not within \(0, 1\)"):
        train_config(**{"data.decontaminate_rouge_l": rouge_l})
