"""The front door of evaluation: which metrics there are, and what a wrong one is told."""

import importlib

import pytest

from llama_gpt4.evaluate import METRICS, main


def test_help_names_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"metric={name}" in shown for name in METRICS)


def test_without_a_metric_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["answers=a.jsonl"]) == 2
    assert "usage" in capsys.readouterr().out


def test_an_unknown_metric_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metric=bleu"]) == 2
    assert "metric=bleu is not one of" in capsys.readouterr().err


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_its_module(name: str) -> None:
    assert callable(importlib.import_module(METRICS[name][0]).main)
