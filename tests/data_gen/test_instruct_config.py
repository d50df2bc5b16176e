"""A run of new instructions that could not work is refused before it begins."""

import pytest
from llama_gpt4_data.instruct_config import InstructConfig

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError

from .instructing import config, demonstrations, rounds


@pytest.mark.parametrize(
    "values, message",
    [
        ({"reply": "task"}, "reply=task is not one of tasks, instructions"),
        ({"language": "fr"}, "language=fr is not one of en, zh"),
        ({"count": 0}, "count=0 must be positive"),
        ({"list_length": 3}, "list_length=3 leaves no task to add to the 3 demonstrations"),
        ({"max_rouge_l": 1.0}, r"max_rouge_l=1\.0 is not within \(0, 1\)"),
    ],
)
def test_values_are_checked(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(**values)


def test_parts_are_checked() -> None:
    with pytest.raises(InputError, match="seeds and machine are both 0"):
        demonstrations(seeds=0)
    with pytest.raises(InputError, match="choice=best is not one of random, diverse"):
        demonstrations(choice="best")
    with pytest.raises(InputError, match=r"least_new_frac=1 is not within \[0, 1\)"):
        rounds(least_new_frac=1)


@pytest.mark.parametrize(
    "method, n_demonstrations, list_length, parameters",
    [
        ("alpaca", (3, 0), 20, {"temperature": 1.0, "top_p": 1.0, "max_tokens": 3072}),
        (
            "self_instruct",
            (6, 2),
            16,
            {"temperature": 0.7, "top_p": 0.5, "presence_penalty": 2.0, "frequency_penalty": 0.0,
             "max_tokens": 1024},
        ),
    ],
)  # fmt: skip
def test_the_methods_are_the_published_ones(
    method: str, n_demonstrations: tuple[int, int], list_length: int, parameters: dict[str, float]
) -> None:
    composed = compose(
        InstructConfig, "data_gen/instruct", [f"method={method}", "run.output_dir=x"]
    )
    assert (composed.demonstrations.seeds, composed.demonstrations.machine) == n_demonstrations
    assert composed.list_length == list_length and composed.max_rouge_l == 0.7
    assert composed.teacher.parameters == parameters
    assert (composed.filters.min_length, composed.filters.max_length) == (4, 150)


def test_filters_speak_the_language_of_the_run() -> None:
    composed = compose(InstructConfig, "data_gen/instruct", ["language=zh", "run.output_dir=x"])
    assert composed.filters.language == "zh"
