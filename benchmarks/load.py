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
import platform
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_gpt4.architecture import LlamaConfig, parameter_shapes
from llama_gpt4.safetensors_file import Outgoing, write_file

HERE = Path(__file__).resolve()
ROOT = HERE.parents[1]
SIZES = {
    "n_layers": 10,
    "hidden_size": 2048,
    "feed_forward_size": 5504,
    "n_heads": 16,
    "n_kv_heads": 16,
}
VOCAB_SIZE = 32000
SHARD_BYTES = 300 * 10**6
MEGA = 10**6
WAYS = ("ours", "transformers")


class MemoryPeak:
    """The largest anonymous memory of this process since the last `start`, seen every 5 ms."""

    def __init__(self) -> None:
        self._peak = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def start(self) -> int:
        """Forget the past; the bytes of now."""
        self._peak = anonymous_bytes()
        return self._peak

    def peak(self) -> int:
        return max(self._peak, anonymous_bytes())

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(0.005):
            self._peak = max(self._peak, anonymous_bytes())


def anonymous_bytes() -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def bytes_read() -> int:
    """By this process, in calls of `read`, since it began."""
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])


def write_checkpoint(
    folder: Path, architecture: LlamaConfig, dtype: torch.dtype, shard_bytes: int
) -> None:
    """A Hugging Face folder of random weights, of which a few megabytes are in memory at a time."""
    folder.mkdir(parents=True)
    name = str(dtype).removeprefix("torch.")
    described = architecture.to_hugging_face(name, bos_id=1, eos_id=2, pad_id=0)
    (folder / "config.json").write_text(json.dumps(described))
    shards: list[list[Outgoing]] = [[]]
    for name, shape in parameter_shapes(architecture).items():
        tensor = Outgoing(name, dtype, shape, random_pieces(name, prod(shape)))
        if sum(other.n_bytes for other in shards[-1]) + tensor.n_bytes > shard_bytes and shards[-1]:
            shards.append([])
        shards[-1].append(tensor)
    weight_map = {}
    for number, tensors in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_file(folder / file, tensors)
        weight_map |= {tensor.name: file for tensor in tensors}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def random_pieces(name: str, numel: int) -> Iterator[Tensor]:
    """Values that differ from one parameter, and from one piece of it, to the next."""
    block = torch.randn(2**20, generator=torch.Generator().manual_seed(0)) * 0.02
    for start in range(0, numel, len(block)):
        turned = block.roll(zlib.crc32(f"{name}:{start}".encode()) % len(block))
        yield turned[: numel - start]


class Marks:
    """What one rank used in each phase, from its end to the end of the phase before."""

    def __init__(self) -> None:
        self._memory = MemoryPeak()
        self._base = self._memory.start()
        self._time, self._read = time.perf_counter(), bytes_read()
        self.phases: dict[str, dict[str, float]] = {}

    def end(self, phase: str) -> None:
        now, read = time.perf_counter(), bytes_read()
        self.phases[phase] = {
            "seconds": now - self._time,
            "anonymous_bytes": self._memory.peak() - self._base,
            "read_bytes": read - self._read,
        }
        self._memory.start()
        self._time, self._read = now, read

    def stop(self) -> None:
        self._memory.stop()


class Marked:
    """A source of weights that tells when the model is built and the first weight is wanted."""

    def __init__(self, source: Any, marks: Marks) -> None:
        self._source, self._marks = source, marks

    def fill(self, name: str, start: int, target: Tensor) -> None:
        if not self._marks.phases:
            self._marks.end("build")
        self._source.fill(name, start, target)


def measure(way: str, folder: Path, out: Path) -> None:
    """One rank's part, started by torchrun: load, and leave the measurements in `out`."""
    from llama_gpt4.compose import compose_training
    from llama_gpt4.ranks import join, leave

    sizes = [f"model.{key}={value}" for key, value in SIZES.items()]
    config = compose_training(
        [*sizes, "precision.dtype=bfloat16", "zero=stage3", "launch.device=cpu"]
    )
    ranks = join(config.launch)
    # What both ways import counts for neither.
    import deepspeed
    from transformers import AutoModelForCausalLM
    from transformers.integrations import HfDeepSpeedConfig
    from transformers.models.llama import modeling_llama  # noqa: F401

    from llama_gpt4 import engine as engines
    from llama_gpt4.architecture import from_sizes
    from llama_gpt4.deepspeed_config import deepspeed_config
    from llama_gpt4.weights import folder_weights

    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # the first one imports a compiler
    torch.distributed.barrier()
    marks = Marks()
    held: dict[str, int] = {}
    initialize = deepspeed.initialize

    def marked_initialize(*args: Any, **kwargs: Any) -> Any:
        marks.end("load")
        model = kwargs["model"]
        held["bytes"] = sum(p.ds_tensor.nbytes for p in model.parameters())
        return initialize(*args, **kwargs)

    deepspeed.initialize = marked_initialize
    architecture = from_sizes(config.model, VOCAB_SIZE)
    if way == "ours":
        source = Marked(folder_weights(folder, architecture), marks)
        engine = engines.build_engine(config, architecture, source, ranks)
    else:
        settings = deepspeed_config(config, architecture.hidden_size, ranks.world_size)
        kept_alive = HfDeepSpeedConfig(settings)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=engines._adamw(model, config),
            config=settings,
            dist_init_required=False,
        )
        del kept_alive
    marks.end("initialize")
    del engine
    result = {"phases": marks.phases, "partition_bytes": held["bytes"]}
    (out / f"rank-{ranks.rank}.json").write_text(json.dumps(result))
    leave()


def run(way: str, folder: Path, processes: int) -> list[dict[str, Any]]:
    """Every rank's measurements of one way."""
    with tempfile.TemporaryDirectory() as out:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        subprocess.run(
            [sys.executable, *launcher, str(HERE), "--worker", way, str(folder), out],
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
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "deepspeed", "transformers", "safetensors")
    )
    lines = [
        "# Loading a checkpoint under ZeRO-3",
        "",
        f"{date.today()}, commit {commit}, {processor()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {versions}.",
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


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line for line in lines if line.startswith("model name")).split(": ")[1]


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
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "load.md")
    parser.add_argument("--worker", nargs=3, metavar=("WAY", "FOLDER", "OUT"), help="internal")
    options = parser.parse_args()
    if options.worker:
        way, folder, out = options.worker
        measure(way, Path(folder), Path(out))
        return
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
    print(text)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(text)
    write_csv(options.results.with_suffix(".csv"), results)


if __name__ == "__main__":
    main()
