"""What `kernels.py` has measured, as lines, table, CSV and picture."""

import csv
import importlib.util
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

from machine import write_rows


@dataclass(frozen=True)
class Row:
    """One pass of one contestant."""

    operator: str
    shape: str
    step: str
    """`forward`, `backward` or `full`; for the loss head forward is evaluation, without a graph."""
    contestant: str
    ms: float
    device_ms: float | None
    gb_per_second: float | None
    tflop_per_second: float | None
    share_of_ceiling: float
    times_faster_we_are: float
    peak_mib: float
    error: float
    """Largest ratio of its error to plain PyTorch's in the same dtype, both against float64."""


def line(row: Row) -> str:
    return (
        f"{row.operator:13s} {row.shape:36s} {row.step:9s} {row.contestant:22s} {row.ms:9.4f} ms  "
        f"{_rate(row):>14s}  {row.share_of_ceiling:6.1%} of ceiling  "
        f"x{row.times_faster_we_are:.2f}"
    )


def _rate(row: Row) -> str:
    if row.tflop_per_second is not None:
        return f"{row.tflop_per_second:.0f} TFLOP/s"
    return f"{row.gb_per_second:.0f} GB/s"


def store(rows: list[Row], found: dict[str, str], notes: dict[str, str], folder: Path) -> None:
    """kernels.csv, every row of which carries the facts, and kernels.md."""
    write_rows(folder / "kernels.csv", [asdict(row) | found for row in rows])
    told = "\n".join(f"- {key}: {value}" for key, value in found.items())
    left_out = "\n".join(f"- {who}: {why}" for who, why in notes.items()) or "- nobody"
    (folder / "kernels.md").write_text(
        "# Operators on one GPU\n\nWritten by `python benchmarks/kernels.py`.\n\n"
        f"{told}\n\nEach cell: milliseconds, share of the ceiling, and how many times faster we "
        f"are.\n\n{_tables(rows)}\n\nNot in the tables:\n{left_out}\n"
    )


def _tables(rows: list[Row]) -> str:
    parts = []
    for operator, group in groupby(rows, key=lambda row: row.operator):
        mine = list(group)
        names = list(dict.fromkeys(row.contestant for row in mine))
        parts.append(f"## {operator}\n\n| | {' | '.join(names)} |\n|---{'|---' * len(names)}|")
        for (shape, step), cells in groupby(mine, key=lambda row: (row.shape, row.step)):
            of = {row.contestant: row for row in cells}
            texts = [_cell(of[name]) if name in of else "" for name in names]
            parts.append(f"| {shape} {step} | {' | '.join(texts)} |")
        parts.append("")
    return "\n".join(parts)


def _cell(row: Row) -> str:
    ms = row.ms if row.device_ms is None else min(row.ms, row.device_ms)
    memory = f", {row.peak_mib:,.0f} MiB" if row.operator == "loss head" else ""
    return f"{ms:.3f}, {row.share_of_ceiling:.0%}, x{row.times_faster_we_are:.2f}{memory}"


def plot(folder: Path) -> None:
    """kernels.png from kernels.csv: a panel for each operator and pass, bars for each size."""
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not here: kernels.py --plot draws from kernels.csv where it is")
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with open(folder / "kernels.csv", newline="") as file:
        rows = [SimpleNamespace(**row) for row in csv.DictReader(file)]
    panels = list(dict.fromkeys((row.operator, row.step) for row in rows))
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(11, 3 * len(panels)), squeeze=False, layout="constrained"
    )
    for (operator, step), ax in zip(panels, axes[:, 0], strict=True):
        mine = [row for row in rows if (row.operator, row.step) == (operator, step)]
        shapes = list(dict.fromkeys(row.shape for row in mine))
        names = list(dict.fromkeys(row.contestant for row in mine))
        width = 0.8 / len(names)
        for index, name in enumerate(names):
            bars = [row for row in mine if row.contestant == name]
            places = [shapes.index(row.shape) + index * width for row in bars]
            ax.bar(places, [float(row.share_of_ceiling) for row in bars], width, label=name)
        ax.set_xticks([x + 0.4 - width / 2 for x in range(len(shapes))], shapes, fontsize=7)
        ax.set_title(f"{operator}, {step}: share of the ceiling", fontsize=9)
        ax.set_ylim(0, 1.1)
        ax.axhline(1, color="grey", linewidth=0.5)
        ax.legend(fontsize=7, ncols=4)
    figure.savefig(folder / "kernels.png", dpi=110)
