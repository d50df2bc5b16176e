"""What came out of a sweep: a table on the terminal, in JSON and in CSV, and the curves as PNG."""

import csv
import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_gpt4.files import bytes_aside, write_json, written_aside
from llama_gpt4_launch.sweep_trial import Status, Trial

MAX_CURVES_IN_LEGEND = 20
SUMMARY_SECONDS = 60.0
"""How much later a sweep ends for Weights & Biases, at most."""


def write_tables(sweep_dir: Path, trials: Sequence[Trial]) -> None:
    """`sweep.json` and `sweep.csv`, each trial once."""
    rows = [_row(trial) for trial in ranked(trials)]
    write_json(sweep_dir / "sweep.json", rows)
    columns = [key for key in rows[0] if key != "swept"] if rows else []
    swept = _swept_keys(trials)
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow([*swept, *columns])
    for row in rows:
        lines.writerow([row["swept"].get(key) for key in swept] + [row[key] for key in columns])
    with written_aside(sweep_dir / "sweep.csv") as file:
        file.write(text.getvalue())


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """By what became of them, then by their loss."""
    order = list(Status)
    return sorted(trials, key=lambda trial: (order.index(trial.status), _value(trial)))


def table(trials: Sequence[Trial]) -> str:
    """The trials as aligned columns; below it why some are not done."""
    swept = _swept_keys(trials)
    metric = trials[0].curve.metric
    lines = [["status", metric, "step", "seconds", *swept]]
    for trial in ranked(trials):
        value = "" if trial.curve.last is None else f"{trial.curve.last:.4f}"
        keys = [trial.swept.get(key, "") for key in swept]
        lines.append(
            [str(trial.status), value, f"{trial.curve.last_step}", f"{trial.seconds:.0f}", *keys]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    shown += [f"{trial.name}: {trial.message}" for trial in ranked(trials) if trial.message]
    return "\n".join(shown)


def plot(sweep_dir: Path, trials: Sequence[Trial]) -> str:
    """Draw the curves to `sweep.png`; the line that says so."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for trial in ranked(trials):
        steps = sorted(trial.curve.values)
        values = [trial.curve.values[step] for step in steps]
        axes.plot(steps, values, label=f"{trial.name} ({trial.status})", marker=".")
    axes.set_xlabel("step")
    axes.set_ylabel(trials[0].curve.metric)
    if len(trials) <= MAX_CURVES_IN_LEGEND:
        axes.legend(fontsize="small")
    with bytes_aside(sweep_dir / "sweep.png") as file:
        FigureCanvasAgg(figure).print_png(file)
    return f"plot {sweep_dir / 'sweep.png'}"


def summarise(sweep_dir: Path) -> str:
    """Let Weights & Biases have all that into one run; the line that says so, or why not."""
    command = [sys.executable, "-m", "llama_gpt4.sweep_summary", str(sweep_dir)]
    path = sweep_dir / "wandb.log"
    with open(path, "wb") as log:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=SUMMARY_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"no summary in Weights & Biases within {SUMMARY_SECONDS:.0f} s: see {path}"
    if done.returncode:
        return f"no summary in Weights & Biases: see {path}"
    return f"summary in Weights & Biases: {sweep_dir.name} (sweep directory, wandb/)"


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "name": trial.name,
        "swept": trial.swept,
        "status": str(trial.status),
        "metric": trial.curve.metric,
        "value": trial.curve.last,
        "step": trial.curve.last_step,
        "seconds": round(trial.seconds, 1),
        "run_dir": str(trial.run_dir),
        "message": trial.message,
    }


def _swept_keys(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(key for trial in trials for key in trial.swept))


def _value(trial: Trial) -> float:
    return float("inf") if trial.curve.last is None else trial.curve.last
