"""What tracking costs a training: the tiny recipe with `tracking=wandb` (offline) and without.

    python benchmarks/tracking.py

Between runs of the same program on a shared machine CPU seconds and clock differ by far more than
the goal of one per cent, so the cost is counted within each tracked run: the CPU seconds of the
tracker and of all that it starts, beside those of the ranks, over the same steps. During training
rank 0 does nothing for its tracker, which reads the file that is written anyway. What it costs to
start and to end comes on top, once a run. The comparison of whole runs stands below it: both sides
train the same steps on two CPU processes, in turns that swap who goes first.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path
from statistics import median

from machine import commit, write_report, write_rows
from measured_run import RANKS, Measured, measure

HERE = Path(__file__).resolve().parent
SIDES = ("none", "wandb")
GOAL = 0.01


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=120, help="measured in each run")
    parser.add_argument("--warmup-steps", type=int, default=40)
    arguments = parser.parse_args()
    # Nobody is to be told about a benchmark.
    os.environ |= {"WANDB_MODE": "offline"}
    runs = []
    with tempfile.TemporaryDirectory() as name:
        for repeat in range(arguments.repeats):
            for side in SIDES if repeat % 2 else reversed(SIDES):
                runs.append(run_side(side, Path(name), arguments))
                print(f"{repeat + 1}: {runs[-1]}", flush=True)
    store(runs, arguments)
    return 0


def run_side(side: str, folder: Path, arguments: argparse.Namespace) -> Measured:
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    steps = arguments.warmup_steps + arguments.steps
    command = [sys.executable, "-m", "llama_gpt4.train", "experiment=tiny", "launch.device=cpu"]
    command += [f"tracking={side}", f"data.cache_dir={folder / 'cache'}", f"run_dir={run_dir}"]
    command += [f"train.steps={steps}", "train.save_every_steps=0"]
    measured = measure(side, command, run_dir, arguments.warmup_steps, arguments.steps)
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert len([line for line in lines if "loss" in json.loads(line)]) == steps
    assert bool(list(run_dir.glob("wandb/offline-run-*/run-*.wandb"))) == (side == "wandb")
    return measured


def overhead(runs: list[Measured], quantity: str) -> list[float]:
    """In each repeat, how much more a token costs with tracking; sorted."""
    with_it, without = (
        [getattr(run, quantity) for run in runs if run.side == side] for side in ("wandb", "none")
    )
    return sorted(b / a - 1 for a, b in zip(with_it, without, strict=True))


def within(tracked: list[Measured], quantity: str) -> list[float]:
    """The tracker's CPU seconds over the measured steps, of those that the ranks spent, or of the
    seconds on the clock of as many cores as there are ranks; sorted."""
    whole = {"cpu_seconds": 1, "seconds": RANKS}[quantity]
    return sorted(run.children_cpu_seconds / (whole * getattr(run, quantity)) for run in tracked)


def store(runs: list[Measured], arguments: argparse.Namespace) -> None:
    """Every run to results/tracking.csv; what they come to, to .md."""
    name = HERE / "results" / "tracking"
    write_rows(name.with_suffix(".csv"), [asdict(run) for run in runs])
    cpu, clock = (overhead(runs, f"tokens_per_{what}") for what in ("cpu_second", "second"))
    tracked = [run for run in runs if run.side == "wandb"]
    around = median(r.children_whole_cpu_seconds - r.children_cpu_seconds for r in tracked)
    a_second = median(run.children_cpu_seconds / run.seconds for run in tracked)
    on_clock, of_ranks = (
        percents(within(tracked, quantity), "") for quantity in ("seconds", "cpu_seconds")
    )
    loads = [run.load for run in runs]
    text = f"""# What tracking costs a training

Written by `python benchmarks/tracking.py` on {date.today()}, commit {commit()}, on
{os.cpu_count()} cores that other jobs shared. The tiny recipe on {RANKS} processes,
{arguments.steps} steps after {arguments.warmup_steps}, a line of metrics a step;
{arguments.repeats} interleaved repeats of `tracking=wandb` (offline)
and `tracking=none`. Load averages before the runs were {min(loads):.1f} to {max(loads):.1f}. The
goal is {GOAL:.0%}.

## Within a tracked run

| CPU seconds of the tracker and all that it starts, in these steps | median | least | most |
|---|---|---|---|
| of the seconds of {RANKS} cores, which the ranks fill where nobody else does | {on_clock} |
| of the CPU seconds that the ranks got | {of_ranks} |

The tracker looks once a second, whatever the ranks come to: {1000 * a_second:.1f} ms of one core a
second. So the first line is what training on cores of its own pays, and the second grows as others
take the cores away. To start and to end it takes {around:.1f} CPU seconds more, once a run: under
{GOAL:.0%} as well from {around / GOAL / RANKS:.0f} seconds of training on {RANKS} busy cores.

## Between runs

| a token costs more, with tracking | median | least | most |
|---|---|---|---|
| CPU seconds of the ranks | {percents(cpu)} |
| seconds on the clock, the tracker on the same {os.cpu_count()} cores | {percents(clock)} |

Where the load of the machine changes between runs, as here, this cannot resolve the goal.
"""
    write_report(name.with_suffix(".md"), text)


def percents(shares: list[float], sign: str = "+") -> str:
    return " | ".join(f"{share:{sign}.2%}" for share in (median(shares), shares[0], shares[-1]))


if __name__ == "__main__":
    sys.exit(main())
