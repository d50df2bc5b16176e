"""Tokens per second, MFU and memory of training on one GPU: us, and transformers with Liger.

    python benchmarks/step.py [--recompute lean full] [--kinds stack step] [--smoke]

`stack`: forward and backward of four layers of the size of 7B and of 13B, under every policy of
what is computed again. `step`: a whole optimizer step of LLaMA-7B under ZeRO-3 with exact fp32
master weights. Every run is a fresh process (`step_run.py`); what does not fit is told. Sides that
start from the same weights and documents must begin with the same loss. Writes step.csv, step.md
and step.png.
"""

import argparse
import csv
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
POLICIES = ("none", "lean", "attention", "full")
SIDES = ("ours", "transformers", "transformers + liger")
LOSS_TOLERANCE = 0.02
RUN_SECONDS = 240


def main() -> int:
    arguments = _arguments()
    if arguments.plot:
        plot(arguments.results)
        return 0
    from gpu_timing import facts, require_gpu
    from step_run import Result, Run

    device = require_gpu("benchmarks/step.py", arguments.smoke)
    found = facts(device)
    print(*(f"{key}: {value}" for key, value in found.items()), sep="\n", flush=True)
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    names = [field.name for kind in (Run, Result) for field in fields(kind)]
    for run in planned(arguments):
        outcome = execute(run, arguments.smoke)
        if isinstance(outcome, str):
            failures.append(f"{_title(asdict(run))}: {outcome}")
            print(failures[-1], flush=True)
        else:
            rows.append(asdict(run) | outcome)
            print(_line(rows[-1]), flush=True)
        store(rows, names, failures, found, arguments.results)  # a lent machine may end any time
    plot(arguments.results)
    return 0


def planned(arguments: argparse.Namespace) -> Iterator[Any]:
    """The runs: half a minute each, so 13B and the whole step are for the policies of use alone."""
    from step_run import Run

    policies, tokens = arguments.recompute, 96 if arguments.smoke else arguments.tokens
    usual = [policy for policy in policies if policy in ("lean", "full")]
    if "stack" in arguments.kinds:
        for side, recompute in _sides(policies):
            yield Run("stack", _model("7b", arguments), 4, side, recompute, tokens)
        for side, recompute in _sides(usual):
            if not arguments.smoke:
                yield Run("stack", _model("13b", arguments), 4, side, recompute, tokens)
    if "step" in arguments.kinds:
        # Master weights, moments and gradients of 7B leave 20 GiB of an H200 for activations.
        for side, recompute in _sides(usual):
            if side != "transformers":
                model = _model("7b", arguments)
                yield Run("step", model, None, side, recompute, min(tokens, 4096))


def _model(size: str, arguments: argparse.Namespace) -> str:
    return "tiny" if arguments.smoke else f"llama_{size}"


def _sides(policies: list[str]) -> Iterator[tuple[str, str]]:
    """Rivals know two of the policies."""
    for side in SIDES:
        for recompute in policies:
            if side == "ours" or recompute in ("none", "full"):
                yield side, recompute


def execute(run: Any, is_smoke: bool) -> dict[str, Any] | str:
    """What the run's process has measured, or why it could not."""
    command = [sys.executable, str(HERE / "step_run.py"), json.dumps(asdict(run))]
    try:
        done = subprocess.run(
            [*command, *(["--smoke"] if is_smoke else [])],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"took more than {RUN_SECONDS} seconds"
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line]
        return (lines or done.stderr.splitlines() or ["died"])[-1].strip()[:200]
    return json.loads(done.stdout.splitlines()[-1])


def _title(row: dict[str, Any]) -> str:
    layers = f" {row['n_layers']} layers" if row["n_layers"] else ""
    return (
        f"{row['kind']} {row['model']}{layers} T={row['tokens']}, {row['side']}, {row['recompute']}"
    )


def _line(row: dict[str, Any]) -> str:
    mfu = "" if row["mfu"] is None else f"  MFU {row['mfu']:.1%}"
    return (
        f"{_title(row):64s} {row['tokens_per_second']:9.0f} tokens/s{mfu}  "
        f"{row['peak_gib']:6.1f} GiB  first loss {row['first_loss']:.4f}"
    )


def store(
    rows: list[dict[str, Any]],
    names: list[str],
    failures: list[str],
    found: dict[str, str],
    folder: Path,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "step.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*names, *found])
        writer.writeheader()
        writer.writerows(row | found for row in rows)
    told = "\n".join(f"- {key}: {value}" for key, value in found.items())
    problems = "\n".join(f"- {text}" for text in [*failures, *_disagreements(rows)]) or "- none"
    (folder / "step.md").write_text(
        "# Training on one GPU: us and transformers\n\nWritten by `python benchmarks/step.py`.\n\n"
        f"{told}\n\nPacked documents of {row_lengths()}; loss on answers only; the same attention "
        "kernel for both. MFU counts neither what is computed again nor, after the last attention, "
        f"rows without a target.\n\n{_table(rows)}\n\nDid not run, or disagree:\n{problems}\n"
    )


def row_lengths() -> str:
    from step_run import LENGTHS

    return f"{LENGTHS[0]} to {LENGTHS[-1]} tokens"


def _table(rows: list[dict[str, Any]]) -> str:
    """Ratios are to the fastest of the others on the same contest."""
    lines = [
        "| run | tokens/s | MFU | peak GiB | s | first loss | to the best rival |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        others = [
            other["tokens_per_second"]
            for other in rows
            if _contest(other) == _contest(row) and other["side"] != "ours"
        ]
        ratio = f"{row['tokens_per_second'] / max(others):.2f}" if others else ""
        mfu = "" if row["mfu"] is None else f"{row['mfu']:.1%}"
        lines.append(
            f"| {_title(row)} | {row['tokens_per_second']:,.0f} | {mfu} | {row['peak_gib']:.1f} | "
            f"{row['step_seconds']:.3f} | {row['first_loss']:.4f} | {ratio} |"
        )
    return "\n".join(lines)


def _contest(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["kind"], row["model"], row["tokens"]


def _disagreements(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        first = next(other for other in rows if _contest(other) == _contest(row))
        difference = abs(row["first_loss"] / first["first_loss"] - 1)
        if not difference <= LOSS_TOLERANCE:
            yield f"{_title(row)} begins with the loss {row['first_loss']}: others differ"


def plot(folder: Path) -> None:
    """step.png from step.csv: tokens per second, and memory."""
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not here: step.py --plot draws from step.csv where it is")
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with open(folder / "step.csv", newline="") as file:
        rows = [row | {"tokens": int(row["tokens"])} for row in csv.DictReader(file)]
    figure, axes = pyplot.subplots(
        1, 2, figsize=(13, 1 + 0.35 * len(rows)), sharey=True, layout="constrained"
    )
    titles = [_title(row) for row in rows]
    colours = ["tab:blue" if row["side"] == "ours" else "tab:grey" for row in rows]
    panels = (("tokens_per_second", "tokens per second"), ("peak_gib", "peak memory, GiB"))
    for ax, (key, label) in zip(axes, panels, strict=True):
        ax.barh(titles, [float(row[key]) for row in rows], color=colours)
        ax.set_xlabel(label)
    axes[0].invert_yaxis()  # the other shares it
    figure.savefig(folder / "step.png", dpi=110)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=("stack", "step"), default=["stack", "step"])
    parser.add_argument("--recompute", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--tokens", type=int, default=8192, help="of a micro-step (step: <= 4096)")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--plot", action="store_true", help="draw what step.csv holds, and end")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, interpreted on a CPU")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
