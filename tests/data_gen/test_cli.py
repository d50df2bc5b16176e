"""`llama-gpt4 data <task>` finds its tasks and says which there are."""

import importlib

import pytest
from llama_gpt4_data import cli


@pytest.mark.parametrize("task", cli.TASKS)
def test_every_task_has_a_program(task: str) -> None:
    module, what = cli.TASKS[task]
    assert callable(importlib.import_module(module).main) and what


def test_help_lists_the_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {task} " in shown for task in cli.TASKS)
    assert cli.main([]) == 2


def test_an_unknown_task_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["anwser"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("llama-gpt4 data: anwser is not a task; there are ")


def test_help_names_a_task_as_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["answer", "--help"]) == 0
    assert capsys.readouterr().out.startswith("llama-gpt4 data answer [key=value …]\n")
