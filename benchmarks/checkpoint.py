"""How long training waits for a checkpoint, and how long one takes: us, DeepSpeed's own
`save_checkpoint`, and PyTorch's asynchronous DCP, of the same ZeRO-3 state, in turns.

    python benchmarks/checkpoint.py [--folder /on/the/disk/to/measure]

Two CPU processes train a LLaMA of 91 million parameters, whose state of 12 bytes each is 1.1 GB,
and save it in each way while they go on training. Memory is measured in processes that know one way
only. What is measured is in `checkpoint_run.py`; the results go to `results/checkpoint.{csv,md}`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from machine import processor, write_rows

HERE = Path(__file__).resolve().parent
WAYS = {
    "ours": "ours",
    "deepspeed": "DeepSpeed `save_checkpoint`",
    "dcp": "PyTorch DCP `async_save`",
}
SIZES = [
    "model.n_layers=6",
    "model.hidden_size=768",
    "model.feed_forward_size=2048",
    "model.n_heads=12",
    "model.n_kv_heads=12",
]
GOAL = 0.1
"""Our stall, of DeepSpeed's, at most."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to save; a temporary folder by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "checkpoint.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        saves = run(Path(name) / "times", list(WAYS), arguments.repeats)
        alone = {way: run(Path(name) / way, [way], 1)[-1] for way in WAYS}
    table = "\n".join(table_lines(saves, alone))
    print(table)
    store(saves, table, arguments)
    return 0


def run(folder: Path, ways: list[str], repeats: int) -> list[dict[str, Any]]:
    """The saves of two fresh processes; they print one a line."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", HERE / "checkpoint_run.py", folder, "--repeats", str(repeats)]
    command += ["--ways", *ways, "--overrides", *SIZES]
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True, text=True)
    saves = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for save in saves:
        print(save, flush=True)
    return saves


def table_lines(saves: list[dict[str, Any]], alone: dict[str, Any]) -> Iterator[str]:
    """Medians, and medians of the ratios within a repeat to DeepSpeed's."""
    yield (
        "| | stall, s | whole save, s | training lost, s | more memory a rank, MiB | "
        "of DeepSpeed's: stall | whole save | lost |"
    )
    yield "|---" * 8 + "|"
    for way, shown in WAYS.items():
        mine = [save for save in saves if save["way"] == way]
        theirs = [save for save in saves if save["way"] == "deepspeed"]
        keys = ("stall_seconds", "total_seconds", "lost_seconds")
        more = (alone[way]["peak_bytes"] - alone[way]["before_bytes"]) / 2**20
        cells = [
            *(f"{median(save[key] for save in mine):.3f}" for key in keys),
            f"{more:,.0f}",
            *(
                f"{median(a[key] / b[key] for a, b in zip(mine, theirs, strict=True)):.3f}"
                for key in keys
            ),
        ]
        yield f"| {shown} | " + " | ".join(cells) + " |"


def store(saves: list[dict[str, Any]], table: str, arguments: argparse.Namespace) -> None:
    """Write all saves as CSV, and `table` with what it was measured on."""
    write_rows(arguments.results.with_suffix(".csv"), saves)
    n, step = saves[0]["n_parameters"], median(save["step_seconds"] for save in saves)
    arguments.results.write_text(
        f"""# Saving a checkpoint while training: us, DeepSpeed, PyTorch DCP

`python benchmarks/checkpoint.py`, {date.today()}, {processor()}, {os.cpu_count()} cores, CPU only.
torch {version("torch")}, DeepSpeed {version("deepspeed")}, Python {platform.python_version()}.

Two processes, one thread each, ZeRO-3, float32; {n:,} parameters, {12 * n / 1e9:.2f} GB of state,
{6 * n / 2**20:,.0f} MiB of it on each rank; {step:.2f} s a step. Medians of {arguments.repeats}
interleaved saves; ratios are medians of the ratios within a round. Goal: a stall of at most
{GOAL} of DeepSpeed's.

{table}

*Stall*: the training thread waits; the worst rank. *Whole save*: until all is on the disk
(`fsync`; DeepSpeed does none, so its files are synced afterwards, which counts here and not as a
stall). Ours is hashed as well. *Training lost*: from the save's beginning until it is done, less
what the steps taken meanwhile take without a save; with no core to spare, what is written behind
training slows it. *More memory*: peak of a rank, measured in processes that save in one way only,
beyond the peak of a step before that way was set up; the page cache does not count.
"""
    )


if __name__ == "__main__":
    sys.exit(main())
