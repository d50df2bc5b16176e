"""Training on two CPU processes: us and TRL's SFTTrainer, in turns, measured the same way.

    python benchmarks/train_cpu.py [--peer-python /path/to/venv/bin/python]

The same small LLaMA from the same weights, the same tokenised records, about as many tokens a step,
DeepSpeed ZeRO-3, float32, one thread a rank, loss on answers only. Every run is two fresh processes
that append a JSON line a step; this program stamps each line with the clock, the CPU seconds and
the peak memory of the ranks as Linux tells them. The records are those of `LLAMA_GPT4_REAL_DATA`.
"""

import argparse
import csv
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RANKS = 2
ROW_TOKENS = 512
STEP_TOKENS = 4096
POLL_SECONDS = 0.02
DEEPSPEED = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": 1.0,
    "zero_allow_untested_optimizer": True,
    "zero_force_ds_cpu_optimizer": False,
}
"""TRL's ZeRO settings are ours (`zero_optimization` is taken from our derived configuration)."""


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    name: str
    settings: dict[str, Any] | None
    """What TRL is told beyond `peer_trl.py`; None is us."""


@dataclass(frozen=True)
class Run:
    """One run of one side, from the end of the last warm-up step to the end of the last step."""

    side: str
    repeat: int
    tokens: int
    seconds: float
    cpu_seconds: float
    """Summed over the ranks."""
    peak_bytes: int
    """Largest resident memory of any rank since it began."""
    first_loss: float
    load: float
    """One-minute load average before the run: what others did on the machine."""

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def tokens_per_cpu_second(self) -> float:
        return self.tokens / self.cpu_seconds


def main() -> int:
    arguments = _arguments()
    if "LLAMA_GPT4_REAL_DATA" not in os.environ:
        print(
            "LLAMA_GPT4_REAL_DATA names no folder: it has to hold alpaca_gpt4_en.json, "
            "alpaca_gpt4_zh.json and llama_tokenizer/",
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = multiprocessing.get_context("spawn").Process(
            target=write_model, args=(folder / "model",)
        )
        writer.start()
        writer.join()
        rows_of_examples = write_examples(folder)
        sides = [side for side in all_sides(rows_of_examples) if arguments.only in side.name]
        runs = []
        for repeat in range(arguments.repeats):
            for side in sides:
                run = run_side(side, repeat, folder, arguments)
                print(
                    f"{side.name}, repeat {repeat + 1}: {run.tokens_per_second:.0f} tokens/s, "
                    f"{run.peak_bytes / 2**20:.0f} MiB, load {run.load:.1f}",
                    flush=True,
                )
                runs.append(run)
    table = "\n".join(table_lines(sides, runs))
    print(table)
    if not arguments.only:
        store(runs, table, arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has TRL")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="measured in each run")
    parser.add_argument("--warmup-steps", type=int, default=3)
    parser.add_argument("--only", default="", help="sides with this in their name; stores nothing")
    return parser.parse_args()


def all_sides(examples_per_rank: int) -> list[Side]:
    """Us, and TRL with the fastest settings that were found for each of its ways to batch."""
    rows_per_rank = STEP_TOKENS // ROW_TOKENS // RANKS
    return [
        Side("ours", None),
        Side(
            "TRL, packing",
            {"packing": True, "per_device_train_batch_size": rows_per_rank},
        ),
        Side("TRL, padding", {"per_device_train_batch_size": examples_per_rank}),
    ]


def write_model(folder: Path) -> None:
    """The LLaMA that all start from, in Hugging Face format."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=2048,
        rms_norm_eps=1e-6,
        initializer_range=0.02,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def our_overrides(folder: Path) -> list[str]:
    """Our command line but for `run_dir` and `train.steps`."""
    data = Path(os.environ["LLAMA_GPT4_REAL_DATA"]).resolve()
    return [
        "experiment=tiny",
        "model=from_path",
        f"model.path={folder / 'model'}",
        f"tokenizer.path={data / 'llama_tokenizer'}",
        f"data.files=[{data / 'alpaca_gpt4_en.json'},{data / 'alpaca_gpt4_zh.json'}]",
        f"data.cache_dir={folder / 'cache'}",
        f"data.row_tokens={ROW_TOKENS}",
        f"batch.tokens_per_step={STEP_TOKENS}",
        f"batch.rows_per_micro_step={STEP_TOKENS // ROW_TOKENS // RANKS}",
        "optim.lr=1e-4",
        "optim.betas=[0.9,0.999]",
        "schedule.kind=constant",
        "train.save_every_steps=0",
        "tracking=none",
        "launch.device=cpu",
    ]


def write_examples(folder: Path) -> int:
    """Our tokenised examples for TRL; how many a rank takes to make up a step of as many tokens."""
    from llama_gpt4.compose import compose_training
    from llama_gpt4.prepare import prepare

    examples = prepare(compose_training([*our_overrides(folder), f"run_dir={folder}"])).train
    with open(folder / "examples.jsonl", "w") as file:
        for i in range(examples.n):
            n_prompt, n = int(examples.prompt_lengths[i]), int(examples.lengths[i])
            mask = [0] * n_prompt + [1] * (n - n_prompt)
            ids = examples.tokens_of(i).tolist()
            file.write(json.dumps({"input_ids": ids, "completion_mask": mask}) + "\n")
    return round(STEP_TOKENS / float(examples.lengths.mean()) / RANKS)


def run_side(side: Side, repeat: int, folder: Path, arguments: argparse.Namespace) -> Run:
    """Start the ranks of one run, and measure them step by step."""
    steps = arguments.warmup_steps + arguments.steps
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    if side.settings is None:
        command = [sys.executable, "-m", "llama_gpt4.train", *our_overrides(folder)]
        command += [f"run_dir={run_dir}", f"train.steps={steps}"]
    else:
        command = [arguments.peer_python, str(HERE / "peer_trl.py"), *peer_options(side, folder)]
        command += ["--run-dir", str(run_dir), "--steps", str(steps)]
    load = os.getloadavg()[0]
    with open(run_dir / "output", "w") as output:
        ranks = [
            subprocess.Popen(
                command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )
            for environment in environments()
        ]
        try:
            stamps = list(stamped_lines(run_dir / "metrics.jsonl", ranks))
            codes = [rank.wait() for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
    if any(codes) or len(stamps) != steps:
        raise RuntimeError(f"{side.name} failed:\n" + (run_dir / "output").read_text()[-3000:])
    (first_line, *_), (_, began, cpu_began, _) = stamps[0], stamps[arguments.warmup_steps - 1]
    measured = stamps[arguments.warmup_steps :]
    _, ended, cpu_ended, peak_bytes = measured[-1]
    return Run(
        side=side.name,
        repeat=repeat,
        tokens=int(sum(line["tokens"] for line, *_ in measured)),
        seconds=ended - began,
        cpu_seconds=cpu_ended - cpu_began,
        peak_bytes=peak_bytes,
        first_loss=first_line["loss"],
        load=load,
    )


def peer_options(side: Side, folder: Path) -> list[str]:
    from llama_gpt4.compose import compose_training
    from llama_gpt4.deepspeed_config import deepspeed_config

    config = compose_training([*our_overrides(folder), f"run_dir={folder}"])
    zero = deepspeed_config(config, hidden_size=256, world_size=RANKS)["zero_optimization"]
    data = Path(os.environ["LLAMA_GPT4_REAL_DATA"]).resolve()
    options = {
        "--model": folder / "model",
        "--tokenizer": data / "llama_tokenizer",
        "--examples": folder / "examples.jsonl",
        "--row-tokens": ROW_TOKENS,
        "--settings": json.dumps(side.settings),
        "--deepspeed": json.dumps(DEEPSPEED | {"zero_optimization": zero}),
    }
    return [str(part) for option in options.items() for part in option]


def environments() -> Iterator[dict[str, str]]:
    """What a launcher would tell each rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for rank in range(RANKS):
        yield os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(RANKS),
            "LOCAL_WORLD_SIZE": str(RANKS),
            "LOCAL_SIZE": str(RANKS),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(Path(tempfile.gettempdir()) / "train_cpu_datasets"),
        }


def stamped_lines(
    path: Path, ranks: list[subprocess.Popen[bytes]]
) -> Iterator[tuple[dict[str, Any], float, float, int]]:
    """Each training line with the time, the ranks' CPU seconds and their largest memory so far."""
    n_read = 0
    while all(rank.poll() in (None, 0) for rank in ranks):
        text = path.read_text() if path.exists() and path.stat().st_size > n_read else ""
        lines = [json.loads(line) for line in text[n_read:].splitlines(keepends=True)]
        n_read = max(n_read, len(text))
        for line in lines:
            if "loss" in line:
                yield line, time.perf_counter(), cpu_seconds(ranks), peak_bytes(ranks)
        if all(rank.poll() == 0 for rank in ranks):
            return
        time.sleep(POLL_SECONDS)


def cpu_seconds(ranks: list[subprocess.Popen[bytes]]) -> float:
    ticks = 0
    for rank in ranks:
        fields = Path(f"/proc/{rank.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_bytes(ranks: list[subprocess.Popen[bytes]]) -> int:
    """`VmHWM`, the kernel's own record of a process's largest resident memory."""
    peaks = []
    for rank in ranks:
        status = Path(f"/proc/{rank.pid}/status").read_text()
        peaks.append(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
    return max(peaks)


def table_lines(sides: list[Side], runs: list[Run]) -> Iterator[str]:
    """Medians over the repeats; ratios are medians of the ratios within a repeat."""
    of = {side.name: [run for run in runs if run.side == side.name] for side in sides}
    ours = of[sides[0].name]
    yield "| | tokens/s | tokens per CPU second | peak MiB a rank | first loss | " + (
        f"speed, {sides[0].name} / this | CPU time, this / {sides[0].name} "
        f"| memory, {sides[0].name} / this |"
    )
    yield "|---" * 8 + "|"
    for name, theirs in of.items():
        pairs = list(zip(ours, theirs, strict=True))
        cells = [
            f"{statistics.median(run.tokens_per_second for run in theirs):.0f}",
            f"{statistics.median(run.tokens_per_cpu_second for run in theirs):.0f}",
            f"{statistics.median(run.peak_bytes for run in theirs) / 2**20:.0f}",
            f"{theirs[0].first_loss:.3f}",
            f"{statistics.median(a.tokens_per_second / b.tokens_per_second for a, b in pairs):.2f}",
            f"{statistics.median(a.tokens_per_cpu_second / b.tokens_per_cpu_second for a, b in pairs):.2f}",
            f"{statistics.median(a.peak_bytes / b.peak_bytes for a, b in pairs):.2f}",
        ]
        yield f"| {name} | " + " | ".join(cells) + " |"


def store(runs: list[Run], table: str, arguments: argparse.Namespace) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
