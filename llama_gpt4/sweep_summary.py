"""A sweep in Weights & Biases: one run beside those of its trials, in their group, with all that a
report needs: the table of trials, the plot of their curves, and the best one.

It reads what the sweep has written, in a process of its own, which may fail or be ended by whoever
waits for it: `python -m llama_gpt4.sweep_summary <sweep directory>`.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_gpt4.frozen_config import load_resolved
from llama_gpt4.tracker import start_run

JOB_TYPE = "sweep"


def main(sweep_dir: Path) -> None:
    trials = json.loads((sweep_dir / "sweep.json").read_text())
    best = trials[0]
    config = load_resolved(Path(best["run_dir"]) / "config.yaml")
    tags = [config.name[:64], *config.tracking.tags]
    run = start_run(sweep_dir, config.tracking, JOB_TYPE, tags, {"trials": len(trials)})
    run.log(shown(trials, sweep_dir / "sweep.png"))
    if best["status"] == "done":
        run.summary.update({f"best/{key}": value for key, value in described(best).items()})
    run.finish()
    # All is written. What W&B would do at exit is its own telemetry, which waits for the server.
    os._exit(0)


def shown(trials: list[dict[str, Any]], plot: Path) -> dict[str, Any]:
    import wandb

    columns, rows = table(trials)
    found: dict[str, Any] = {"trials": wandb.Table(columns=columns, data=rows)}
    if plot.exists():
        found["curves"] = wandb.Image(str(plot))
    return found


def table(trials: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows; what is swept comes first, as numbers where all of a key's values are."""
    swept = list(dict.fromkeys(key for trial in trials for key in trial["swept"]))
    others = [key for key in trials[0] if key != "swept"]
    columns = [
        *(as_numbers([trial["swept"].get(key) for trial in trials]) for key in swept),
        *([trial[key] for trial in trials] for key in others),
    ]
    return [*swept, *others], [list(row) for row in zip(*columns, strict=True)]


def as_numbers(texts: Sequence[str | None]) -> Sequence[float | str | None]:
    """So that W&B can draw them along an axis; a column has to be of one type."""
    try:
        return [None if text is None else float(text) for text in texts]
    except ValueError:
        return texts


def described(best: dict[str, Any]) -> dict[str, Any]:
    kept = {key: best[key] for key in ("name", "metric", "value", "step", "run_dir")}
    return kept | best["swept"] | {"model": str(Path(best["run_dir"]) / "model")}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
