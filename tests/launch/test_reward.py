"""`llama-gpt4 reward` starts as `train` does: its keys at once, and other programs' refused."""

import pytest
from llama_gpt4_launch import reward


def test_help_lists_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert reward.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "batch.prompts_per_step: int\n" in out and "run_dir: str\n    Everything" in out


def test_cfg_prints_what_a_run_would_freeze(capsys: pytest.CaptureFixture[str]) -> None:
    assert reward.main(["--cfg", "loss.kind=plackett_luce"]) == 0
    assert "kind: plackett_luce\n" in capsys.readouterr().out


def test_sweeps_are_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert reward.main(["-m", "optim.lr=1,2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
