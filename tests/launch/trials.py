"""Trials whose training is a few lines of Python in a real process of its own."""

import sys
from pathlib import Path

import pytest
from llama_gpt4_launch import sweep_trial
from llama_gpt4_launch.sweep_trial import Trial

from llama_gpt4.compose import compose_training, freeze

SCRIPT = """
import json, os, signal, subprocess, sys, time, yaml
config = yaml.safe_load(open(sys.argv[2]))
def write(step, loss):
    with open(config["run_dir"] + "/metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": step, "loss": loss}) + "\\n")
"""


def trains_by(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """From here on trials run `code`, which knows `config` and `write(step, loss)`."""
    monkeypatch.setattr(sweep_trial, "TRAIN", (sys.executable, "-c", SCRIPT + code))


def trial(folder: Path, name: str = "optim.lr=0.1", processes: int = 1, *overrides: str) -> Trial:
    run_dir = folder / name
    config = compose_training([f"run_dir='{run_dir}'", *overrides])
    made = Trial(name=name, swept={"optim.lr": "0.1"}, config=config, processes=processes)
    freeze(config)
    return made
