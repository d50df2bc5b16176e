"""What a judging may be told, and what it refuses."""

import pytest
from llama_gpt4_data.judge_config import JudgeConfig

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError

from .judging import judge_config


def test_the_values_are_those_of_vicuna() -> None:
    config = compose(
        JudgeConfig,
        "evaluate/judge",
        ["questions=q.jsonl", "answers={a: a.jsonl, b: b.jsonl}", "run.output_dir=x"],
    )
    assert config.judge.model == "gpt-4"
    assert config.judge.parameters == {"temperature": 0.2, "top_p": 1.0, "max_tokens": 1024}
    assert (config.repeats, config.missing, config.run.mode) == (1, "error", "live")


@pytest.mark.parametrize(
    "values, words",
    [
        ({"answers": {"a": "a.jsonl"}}, "fewer than two models"),
        ({"questions": None}, "questions has no value"),
        ({"opponent": "c"}, "opponent=c is not one of a, b"),
        ({"missing": "keep"}, "missing=keep is not one of error, drop"),
        ({"limit": 0}, "limit=0 must be positive"),
        ({"repeats": 0}, "repeats=0 must be positive"),
        ({"ranking": ["a"]}, "ranking names one model"),
        ({"ranking": ["a", "a"]}, "ranking names a model twice"),
        ({"ranking": ["a", "c"]}, "ranking=c is not one of a, b"),
        ({"ranking": ["a", "b"], "opponent": "b"}, "ranking=b is the opponent"),
    ],
)
def test_what_cannot_be_judged(values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        judge_config(**values)


def test_reviews_need_neither_questions_nor_answers() -> None:
    assert judge_config(reviews=["r.jsonl"], answers={}, questions=None, opponent="x").reviews
