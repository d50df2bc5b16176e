"""A finished sweep as a run of Weights & Biases, read back from its offline file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llama_gpt4.compose import compose_training
from llama_gpt4.frozen_config import freeze
from llama_gpt4.sweep_summary import as_numbers, table

from ..command import ENVIRONMENT
from .offline_runs import history, offline_records


def row(folder: Path, rate: str, model: str, status: str, value: float | None) -> dict[str, Any]:
    run_dir = folder / f"optim.lr={rate}"
    group = ["tracking=wandb", "tracking.group=sweep-1", "tracking.tags=[mine]"]
    freeze(compose_training([f"run_dir='{run_dir}'", *group]))
    return {
        "name": run_dir.name,
        "swept": {"optim.lr": rate, "model": model},
        "status": status,
        "metric": "loss",
        "value": value,
        "step": 4,
        "seconds": 2.5,
        "run_dir": str(run_dir),
        "message": "" if value else "not finite",
    }


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "sweep-1"
    rows = [
        row(folder, "1e-05", "tiny", "done", 3.25),
        row(folder, "2e-05", "llama_7b", "done", 3.5),
        row(folder, "1e30", "tiny", "failed", None),
    ]
    (folder / "sweep.json").write_text(json.dumps(rows))
    Image.new("RGB", (4, 3)).save(folder / "sweep.png")
    return folder


@pytest.mark.e2e
def test_the_offline_file_holds_table_plot_and_the_best(sweep_dir: Path) -> None:
    command = [sys.executable, "-m", "llama_gpt4.sweep_summary", str(sweep_dir)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    [file] = sweep_dir.glob("wandb/offline-run-*/run-*.wandb")
    records = list(offline_records(file))
    [run] = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.run_group, run.job_type) == ("llama-gpt4", "sweep-1", "sweep")
    assert (run.display_name, list(run.tags)) == ("sweep-1", ["tiny", "mine"])

    [logged] = history(file).values()
    assert {"trials.path", "curves.path"} <= logged.keys() or {"trials", "curves"} <= logged.keys()
    [shown] = [json.loads(p.read_text()) for p in file.parent.glob("files/media/table/trials_*")]
    trials = [dict(zip(shown["columns"], values, strict=True)) for values in shown["data"]]
    stored = json.loads((sweep_dir / "sweep.json").read_text())
    for trial, kept in zip(trials, stored, strict=True):
        swept = kept.pop("swept")
        assert trial == kept | {"optim.lr": float(swept["optim.lr"]), "model": swept["model"]}
    [plot] = file.parent.glob("files/media/images/curves_*.png")
    assert plot.read_bytes() == (sweep_dir / "sweep.png").read_bytes()

    best = {
        (item.key or item.nested_key[0]): json.loads(item.value_json)
        for record in records
        for item in record.summary.update
    }
    assert best["best/name"] == "optim.lr=1e-05" and best["best/value"] == 3.25
    assert best["best/model"] == str(sweep_dir / "optim.lr=1e-05" / "model")


def test_a_key_is_a_column_of_numbers_or_of_texts() -> None:
    assert as_numbers(["1e-05", None, "2"]) == [1e-5, None, 2.0]
    assert as_numbers(["1e-05", "tiny"]) == ["1e-05", "tiny"]


def test_a_trial_without_a_key_has_an_empty_cell() -> None:
    columns, rows = table([{"swept": {"a": "1"}, "name": "x"}, {"swept": {"b": "2"}, "name": "y"}])
    assert columns == ["a", "b", "name"]
    assert rows == [[1.0, None, "x"], [None, 2.0, "y"]]
