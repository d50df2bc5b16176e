"""What a training does before its processes meet; the rest: tests/distributed and tests/e2e."""

import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4 import train
from llama_gpt4.architecture import from_sizes, n_parameters
from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.program import ExitReport

Usage = namedtuple("Usage", "total used free")


def test_other_ranks_leave_a_directory_alone_until_rank_0_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    came_to: list[Any] = []
    monkeypatch.setattr(train, "prepare", lambda config: None)
    monkeypatch.setattr(train, "train", lambda *given: came_to.append(given))
    report = ExitReport()
    train.run([f"run_dir={tmp_path}/run"], report)
    assert came_to and report.run_dir is None
    assert not (tmp_path / "run").exists()


def test_contradictions_are_found_before_the_data_are_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "prepare", lambda config: pytest.fail("it was prepared"))
    with pytest.raises(InputError, match=r"gradient_clipping=5\.0 contradicts 1\.0"):
        train.run(
            [f"run_dir={tmp_path}/run", "+zero.deepspeed.gradient_clipping=5.0"], ExitReport()
        )


@pytest.mark.parametrize(
    "changes, checkpoints, model_bytes",
    [
        ({}, 2, 4),
        ({"train.keep_checkpoints": 3}, 4, 4),
        ({"data.validation.share": 0.1}, 3, 4),  # and the best one
        ({"precision.dtype": "bfloat16"}, 2, 2),
    ],
)
def test_there_must_be_room_for_all_that_is_written(
    train_config: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    checkpoints: int,
    model_bytes: int,
) -> None:
    config = train_config(**changes)
    Path(config.run_dir).mkdir()
    architecture = from_sizes(config.model, 1024)
    needed = (12 * checkpoints + model_bytes) * n_parameters(architecture)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, needed))
    train._require_room(config, architecture)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, needed - 1))
    with pytest.raises(InputError, match=f"{checkpoints} more checkpoints .* and the model"):
        train._require_room(config, architecture)
