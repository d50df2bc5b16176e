"""Memory, bytes and seconds of loading a checkpoint under ZeRO-3: our way, and transformers'.

    python benchmarks/load.py [--processes 2] [--results benchmarks/results/load.md]

Writes a synthetic sharded bfloat16 checkpoint of 1.27 GB to a temporary folder, loads it once in
each way, each time in fresh processes, and writes the table. Memory is anonymous memory: what a
process has of its own, without the page cache that maps files and can always be dropped.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from math import prod
from pathlib import Path
from typing import Any

import torch
from load_run import SIZES, VOCAB_SIZE
from machine import ROOT, facts, write_report
from random_checkpoint import MEGA, write_checkpoint

from llama_gpt4.architecture import LlamaConfig, parameter_shapes

RANK = ROOT / "benchmarks" / "load_run.py"
SHARD_BYTES = 300 * MEGA
WAYS = ("ours", "transformers")


def run(way: str, folder: Path, processes: int) -> list[dict[str, Any]]:
    """Every rank's measurements of one way."""
    with tempfile.TemporaryDirectory() as out:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        subprocess.run(
            [sys.executable, *launcher, str(RANK), way, str(folder), out],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        return [
            json.loads((Path(out) / f"rank-{rank}.json").read_text()) for rank in range(processes)
        ]


def summary(ranks: list[dict[str, Any]], model_bytes: int) -> dict[str, float]:
    """Sums over the ranks, in units of the model where it says so."""
    loading = [
        [phase for name, phase in rank["phases"].items() if name != "initialize"] for rank in ranks
    ]
    peaks = [max(phase["anonymous_bytes"] for phase in phases) for phases in loading]
    after = [rank["phases"]["initialize"]["anonymous_bytes"] for rank in ranks]
    partitions = sum(rank["partition_bytes"] for rank in ranks)
    return {
        "seconds": max(sum(phase["seconds"] for phase in phases) for phases in loading),
        "extra_bytes": sum(peaks) - partitions,
        "extra_models": (sum(peaks) - partitions) / model_bytes,
        "largest_rank_bytes": max(peaks),
        "initialize_seconds": max(rank["phases"]["initialize"]["seconds"] for rank in ranks),
        "initialize_models": (sum(after) - partitions) / model_bytes,
    }


def report(results: dict[str, list[dict[str, Any]]], model_bytes: int, n_files: int) -> str:
    processes = len(results["ours"])
    summaries = {way: summary(ranks, model_bytes) for way, ranks in results.items()}
    ours, theirs = (summaries[way] for way in WAYS)
    lines = [
        "# Loading a checkpoint under ZeRO-3",
        "",
        f"{facts('torch', 'deepspeed', 'transformers', 'safetensors')}.",
        f"{model_bytes:,} bytes of bfloat16 weights in {n_files} shards (in the page cache), "
        f"{processes} processes on the CPU. Made by `python benchmarks/load.py`.",
        "",
        "Anonymous memory beyond that of the bare processes and beyond the partitions themselves, "
        "its peaks summed over the ranks; a model is the bytes of all weights. `initialize` adds "
        "DeepSpeed's own tensors: float32 weights, gradients, buckets.",
        "",
        "| | seconds | extra memory, all ranks | … in models | largest rank, with its partition "
        "| `initialize`, seconds | … extra memory in models |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, row in summaries.items():
        lines.append(
            f"| {way} | {row['seconds']:.1f} | {row['extra_bytes'] / MEGA:,.0f} MB "
            f"| {row['extra_models']:.2f} | {row['largest_rank_bytes'] / MEGA:,.0f} MB "
            f"| {row['initialize_seconds']:.1f} | {row['initialize_models']:.2f} |"
        )
    lines += [
        f"| transformers / ours | {theirs['seconds'] / ours['seconds']:.1f} "
        f"| {theirs['extra_bytes'] / ours['extra_bytes']:.1f} | | "
        f"{theirs['largest_rank_bytes'] / ours['largest_rank_bytes']:.1f} | | |",
        "",
        "Our ranks read each their own slices (transformers maps the files, so that the calls of "
        "`read` do not show what it reads):",
        "",
        "| rank | partition | read while filling | build, seconds | fill, seconds |",
        "|---|---|---|---|---|",
    ]
    for rank, found in enumerate(results["ours"]):
        phases = found["phases"]
        lines.append(
            f"| {rank} | {found['partition_bytes']:,} | {phases['load']['read_bytes']:,} "
            f"| {phases['build']['seconds']:.2f} | {phases['load']['seconds']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def write_csv(path: Path, results: dict[str, list[dict[str, Any]]]) -> None:
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["way", "rank", "phase", "seconds", "anonymous_bytes", "read_bytes"])
        for way, ranks in results.items():
            for rank, found in enumerate(ranks):
                for phase, values in found["phases"].items():
                    table.writerow([way, rank, phase, *(round(v, 3) for v in values.values())])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how a checkpoint is loaded.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/load.md")
    options = parser.parse_args()
    architecture = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        head_size=SIZES["hidden_size"] // SIZES["n_heads"],
        max_positions=2048,
        rope_theta=10000.0,
        rope_scaling=None,
        norm_eps=1e-6,
        tie_embeddings=False,
        initializer_std=0.02,
        **SIZES,
    )
    model_bytes = sum(prod(shape) for shape in parameter_shapes(architecture).values()) * 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "checkpoint"
        write_checkpoint(folder, architecture, torch.bfloat16, SHARD_BYTES)
        n_files = len(list(folder.glob("*.safetensors")))
        results = {way: run(way, folder, options.processes) for way in WAYS}
    text = report(results, model_bytes, n_files)
    write_report(options.results, text)
    write_csv(options.results.with_suffix(".csv"), results)


if __name__ == "__main__":
    main()
