"""What fills a disk or a GPU is one line that says what makes room."""

import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.room import lever_for_memory, require_room

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    "changes, checkpoints, model_bytes",
    [
        ({}, 2, 4),
        ({"train.keep_checkpoints": 3}, 4, 4),
        ({"data.validation.share": 0.1}, 3, 4),  # and the best one
        ({"precision.dtype": "bfloat16"}, 2, 2),
        ({"train.keep_checkpoints": 9, "train.keep_checkpoint_bytes": 24_000_000}, 3, 4),
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
    n = 1_000_000
    needed = (12 * checkpoints + model_bytes) * n
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, needed))
    require_room(config, n)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, needed - 1))
    needs = rf"{checkpoints} more checkpoints of 12\.0 MB and the model of {model_bytes}\.0 MB must"
    with pytest.raises(InputError, match=needs):
        require_room(config, n)


def test_a_limit_below_a_checkpoint_is_refused(train_config: Callable[..., TrainConfig]) -> None:
    config = train_config(**{"train.keep_checkpoint_bytes": 11_999_999})
    with pytest.raises(InputError, match=r"is less than 12,000,000 bytes.* for the newest$"):
        require_room(config, 1_000_000)


@pytest.mark.parametrize(
    "changes, levers",
    [
        ({}, "model.recompute=full or batch.rows_per_micro_step=1 or zero=offload takes less"),
        (
            {"zero.stage": 2, "batch.rows_per_micro_step": 1},
            "model.recompute=full or zero=stage3 takes less",
        ),
        (
            {
                "model.recompute": "full",
                "batch.rows_per_micro_step": 1,
                "zero.offload_optimizer": True,
                "zero.offload_parameters": True,
            },
            "a run on more GPUs takes less",
        ),
    ],
)
def test_a_full_gpu_is_one_line_with_what_makes_room(
    train_config: Callable[..., TrainConfig], changes: dict[str, Any], levers: str
) -> None:
    """As PyTorch words it; tests marked `gpu` run out of a real one."""
    config = train_config(**{"batch.rows_per_micro_step": 2, **changes})
    with pytest.raises(InputError) as raised, lever_for_memory(config):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 "
            "GiB of which 1.2 GiB is free.\nProcess 7 has 77.9 GiB memory in use."
        )
    message = str(raised.value)
    assert message.startswith("CUDA out of memory. Tried to allocate 2.00 GiB: ")
    assert levers in message and "llama-gpt4 plan" in message and "\n" not in message


@pytest.mark.gpu
def test_a_real_gpu_that_is_full_is_one_line(train_config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(InputError) as raised, lever_for_memory(train_config()):
        torch.empty(2**50, dtype=torch.uint8, device="cuda")
    message = str(raised.value)
    assert "out of memory" in message and "Tried to allocate" in message and "\n" not in message


def test_other_errors_stay_what_they_are(train_config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), lever_for_memory(train_config()):
        raise RuntimeError("shapes differ")
