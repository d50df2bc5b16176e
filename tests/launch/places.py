"""Configurations of places and a training to send there, for golden files."""

from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_launch.launch import PLACES

from llama_gpt4.compose import compose, compose_training
from llama_gpt4.config import TrainConfig

GOLDEN = Path(__file__).parents[1] / "golden"
PYTHON = "/venv/bin/python"


def training(*overrides: str) -> TrainConfig:
    return compose_training(
        [
            "experiment=alpaca_7b",
            "model.path=/shared/llama-7b",
            "data.files=[/shared/alpaca_gpt4_data.json]",
            "data.cache_dir=/shared/cache",
            "run_dir=/shared/runs/alpaca_7b",
            *overrides,
        ]
    )


def place(where: str, *overrides: str) -> Any:
    schema = PLACES[where][0]
    assert schema is not None
    return compose(schema, f"launch/{where}", overrides)


def only(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """An environment in which nothing but `variables` could travel, and a known interpreter."""
    for name in place("slurm", "nodes=1", "processes_per_node=1").environment.variables:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.executable", PYTHON)


def require_golden(name: str, text: str) -> None:
    """`text` is what the golden file says; delete the file to write it anew, and look at it."""
    path = GOLDEN / name
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"{path} was written: look at it, and run the test again")
    assert text == path.read_text()
