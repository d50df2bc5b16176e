"""A rank with eyes is the same training, and says goodbye when it ends."""

from pathlib import Path

import pytest
from llama_gpt4_launch import rank


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rank.main(["--resolved", f"{tmp_path}/config.yaml"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("llama-gpt4 train: ") and "does not exist" in line


def test_its_end_is_no_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"run_dir={tmp_path}/run", "+zero.deepspeed.gradient_clipping=5.0"]
    assert rank.main([*arguments, "launch.device=cpu"]) == 2
    assert "gradient_clipping=5.0 contradicts 1.0" in capsys.readouterr().err
