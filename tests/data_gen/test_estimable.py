"""Every task that asks an endpoint can be estimated."""

import importlib
from dataclasses import fields

import pytest
from llama_gpt4_data.cli import TASKS
from llama_gpt4_data.estimable import Estimable


@pytest.mark.parametrize("task", ["answer", "rate", "translate"])
def test_a_task_says_what_it_asks_and_whom(task: str) -> None:
    module = importlib.import_module(TASKS[task][0])
    estimable = module.ESTIMABLE
    assert isinstance(estimable, Estimable) and estimable.program == module.PROGRAM
    assert {"run", "prices"} <= {field.name for field in fields(estimable.schema)}
