"""The keys of `llama-gpt4 data check`: its rules are those that the code asks."""

from dataclasses import fields

import pytest
from llama_gpt4_data.check_config import AnswerPolicy, CheckConfig

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError
from llama_gpt4.validators import ANSWER_VALIDATORS


def config(*overrides: str) -> CheckConfig:
    return compose(CheckConfig, "data_gen/check", ["files=[a.json]", *overrides])


def test_every_answer_validator_has_a_policy() -> None:
    assert {field.name for field in fields(AnswerPolicy)} == {*ANSWER_VALIDATORS, "length"}


def test_what_a_reader_has_to_judge_is_not_dropped_by_default() -> None:
    dropped = {rule for rule, policy in config().policies.items() if policy == "drop"}
    assert dropped == {"empty", "leakage", "evaluation_overlap", "duplicate"}
    assert "error" not in config().policies.values()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("answer.refusal=remove", "answer.refusal=remove is not one of keep, drop, error"),
        ("record.duplicates=drop", "record.duplicates is not a key"),
        ("language=fr", "language=fr is not one of en, zh"),
        ("files=[]", "files is empty"),
        ("near_duplicate_rouge_l=1.5", r"near_duplicate_rouge_l=1.5 is not within \(0, 1\)"),
        ("evaluation_rouge_l=0", r"evaluation_rouge_l=0.0 is not within \(0, 1\)"),
        ("max_output_tokens=-1", "max_output_tokens=-1 is less than min_output_tokens=0"),
        ("min_output_tokens=-1", "min_output_tokens=-1 is negative"),
        ("output=a.json", "output=a.json would overwrite a file that is checked"),
        ("report=a.json", "report=a.json would overwrite a file that is checked"),
    ],
)
def test_bad_values_are_one_line(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        config(override)
    assert "\n" not in str(refused.value)


def test_output_and_report_are_two_files() -> None:
    with pytest.raises(InputError, match="output and report are one file"):
        config("output=b.json", "report=b.json")
