"""`llama-gpt4 dpo` starts as `train` does."""

from pathlib import Path

import pytest
from llama_gpt4_launch import dpo, launch


def test_help_lists_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert dpo.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("llama-gpt4 dpo [key=value …]") and "loss.beta: float\n" in out


def test_it_is_launched_where_a_training_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hosts").write_text("worker-1 slots=2\n")
    keys = [f"run_dir={tmp_path}/run", f"model.path={tmp_path}/model"]
    words = ["torchrun", f"hostfile={tmp_path}/hosts", "--print", "--", "dpo", *keys]
    code, shown = launch.main(words), capsys.readouterr()
    assert code == 2 and f"model.path={tmp_path}/model" in shown.err, "looked at before all else"
