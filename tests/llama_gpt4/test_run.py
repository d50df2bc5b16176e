"""What a run does before its processes meet; the rest: tests/distributed and tests/e2e."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4 import run, train
from llama_gpt4.compose import compose_training, freeze
from llama_gpt4.errors import InputError
from llama_gpt4.program import ExitReport


def test_other_ranks_leave_a_directory_alone_until_rank_0_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    came_to: list[Any] = []
    monkeypatch.setattr(run, "train", lambda *given: came_to.append(given))
    report = ExitReport()
    prepared = replace(train.TRAINING, prepare=lambda config: None)
    run.run(prepared, [f"run_dir={tmp_path}/run"], report)
    assert came_to and report.run_dir is None
    assert not (tmp_path / "run").exists()


def test_contradictions_are_found_before_the_data_are_prepared(tmp_path: Path) -> None:
    unprepared = replace(train.TRAINING, prepare=lambda config: pytest.fail("it was prepared"))
    with pytest.raises(InputError, match=r"gradient_clipping=5\.0 contradicts 1\.0"):
        run.run(
            unprepared,
            [f"run_dir={tmp_path}/run", "+zero.deepspeed.gradient_clipping=5.0"],
            ExitReport(),
        )


def test_the_frozen_configuration_of_another_program_is_refused(tmp_path: Path) -> None:
    frozen = freeze(compose_training([f"run_dir={tmp_path}/run"]))
    other = replace(train.TRAINING, program="reward")
    with pytest.raises(InputError, match="is a run of `llama-gpt4 train`"):
        run.run(other, ["--resolved", str(frozen)], ExitReport())
