"""The command line as a user runs it, on a tiny model, for tests that start processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CLI = [sys.executable, "-m", "llama_gpt4_launch.cli"]
ENVIRONMENT = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
FAST = (
    "tracking=none",
    "model.n_layers=1",
    "model.hidden_size=32",
    "model.feed_forward_size=64",
    "tokenizer.vocab_size=1024",
    "data.row_tokens=256",
    "batch.tokens_per_step=1024",
    "batch.rows_per_micro_step=1",
    "launch.device=cpu",
)
"""A training that takes a fraction of a second a step."""


def llama_gpt4(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """`llama-gpt4 …` with its output."""
    return run([*CLI, *arguments], timeout)


def run(command: list[str], timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=timeout)


def train(run_dir: Path, *overrides: str, processes: int = 2) -> list[dict[str, Any]]:
    """A short training that has to succeed; its lines of metrics."""
    done = llama_gpt4(
        "train", *FAST, f"run_dir={run_dir}", f"launch.processes={processes}", *overrides
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return metrics(run_dir)


def metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of steps, not those of saves and evaluations."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]
