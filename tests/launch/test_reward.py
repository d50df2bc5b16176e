"""`llama-gpt4 reward` starts as `train` does: its keys at once, and other programs' refused."""

from pathlib import Path

import pytest
from llama_gpt4_launch import launch, rank, reward

from llama_gpt4.compose import compose_run
from llama_gpt4.frozen_config import freeze


def test_help_lists_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert reward.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "batch.prompts_per_step: int\n" in out and "run_dir: str\n    Everything" in out


def test_cfg_prints_what_a_run_would_freeze(capsys: pytest.CaptureFixture[str]) -> None:
    assert reward.main(["--cfg", "loss.kind=plackett_luce"]) == 0
    assert "kind: plackett_luce\n" in capsys.readouterr().out


def test_a_sweep_is_of_its_own_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The keys are the reward model's, and so is the verb that answers."""
    assert reward.main(["-m", f"sweep.dir={tmp_path}/sweep", "batch.tokens_per_step=1,2"]) == 2
    assert capsys.readouterr().err == (
        "llama-gpt4 reward: batch.tokens_per_step is not a key of this program; did you mean "
        "batch.prompts_per_step?\n"
    )


@pytest.mark.parametrize("where", ["local", "torchrun", "slurm"])
def test_it_is_launched_where_a_training_is(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hosts").write_text("worker-1 slots=2\n")
    options = {
        "local": [],
        "torchrun": [f"hostfile={tmp_path}/hosts"],
        "slurm": ["nodes=2", "processes_per_node=2"],
    }
    run_dir = f"run_dir={tmp_path}/run"
    assert launch.main([where, *options[where], "--print", "--", "reward", run_dir]) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path}/run/config.yaml" in shown
    assert "llama_gpt4.train" not in shown
    assert ("llama_gpt4_data.reward" in shown) == (where == "local"), "others read the frozen file"


def test_a_rank_runs_the_program_of_its_frozen_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(
        "llama_gpt4_data.reward.run", lambda arguments, report: asked.append(arguments)
    )
    words = ["--resolved", str(freeze(compose_run("reward", [f"run_dir={tmp_path}/run"])))]
    assert rank.main(words) == 0 and asked == [words]
