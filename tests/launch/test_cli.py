"""The front door: a verb leads to its module, and everything else to a line of help."""

import importlib

import pytest
from llama_gpt4_launch.cli import VERBS, main


@pytest.mark.parametrize("asked", ["-h", "--help", "help"])
def test_help_names_every_verb(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([asked]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {verb} " in out for verb in VERBS)


def test_without_a_verb_it_helps_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: llama-gpt4 <verb>")


def test_an_unknown_verb_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "optim.lr=1"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "trian is not a verb" in line and "train" in line


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_module(verb: str) -> None:
    module = importlib.import_module(VERBS[verb][0])
    assert callable(module.main)


def test_the_rest_of_the_line_goes_to_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "name=mine"]) == 0
    assert "name: mine\n" in capsys.readouterr().out
