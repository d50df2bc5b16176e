"""Training on two CPU processes: us and TRL's SFTTrainer, in turns, measured the same way.

    python benchmarks/train_cpu.py [--peer-python /path/to/venv/bin/python]

The same small LLaMA from the same weights, the same tokenised records, about as many tokens a step,
DeepSpeed ZeRO-3, float32, one thread a rank, loss on answers only. Every run is two fresh processes
that append a JSON line a step; this program stamps each line with the clock, the CPU seconds and
the peak memory of the ranks as Linux tells them. The records are those of `LLAMA_GPT4_REAL_DATA`.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from machine import commit, processor, versions, write_rows
from measured_run import RANKS, Measured, measure

HERE = Path(__file__).resolve().parent
LIBRARIES = ("torch", "deepspeed", "transformers", "trl")
ROW_TOKENS = 512
STEP_TOKENS = 4096
DEEPSPEED = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": 1.0,
    "zero_allow_untested_optimizer": True,
    "zero_force_ds_cpu_optimizer": False,
}
"""TRL's ZeRO settings are ours (`zero_optimization` is taken from our derived configuration)."""
MODEL_SIZES: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 256,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
}
RUN_OVERRIDES = (
    "optim.lr=1e-4",
    "optim.betas=[0.9,0.999]",
    "schedule.kind=constant",
    "train.save_every_steps=0",
    "tracking=none",
    "launch.device=cpu",
)
"""Of our command line, what any contest of training shares; `peer_trl.py` says the same to TRL."""

LESSON = """What bounds us is arithmetic: of a rank's CPU seconds, about two thirds are matrix
products at the speed that a core reaches for them alone (100 GFLOP/s where it was profiled), half
of these in the loss head, where only answer tokens are multiplied. Attention takes an eighth;
DeepSpeed's hooks, the collectives and AdamW share what little is left."""


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    name: str
    settings: dict[str, Any] | None
    """What TRL is told beyond `peer_trl.py`; None is us."""


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
        examples_per_rank = write_examples(folder)
        sides = [side for side in all_sides(examples_per_rank) if arguments.only in side.name]
        runs = []
        for repeat in range(arguments.repeats):
            for side in sides:
                run = run_side(side, folder, arguments)
                print(f"{repeat + 1}: {run}", flush=True)
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
    parser.add_argument("--float32-matmul", default="medium", choices=("highest", "medium"))
    parser.add_argument("--only", default="", help="sides with this in their name; stores nothing")
    return parser.parse_args()


def all_sides(examples_per_rank: int) -> list[Side]:
    """Us, and TRL with the best settings that were found for each of its ways to batch.

    Small micro-batches serve TRL better than one of the whole batch, in speed and memory: without
    flash attention, packing and padding-free mask one square of scores over a micro-batch, and
    padding fills up to its longest example. One example at a time needs no padding at all.
    """
    rows_per_rank = STEP_TOKENS // ROW_TOKENS // RANKS
    packing = {"packing": True} | micro_batches(rows_per_rank, 2)
    padding_free = {"padding_free": True, "max_length": None} | micro_batches(examples_per_rank, 3)
    return [
        Side("ours", None),
        Side("TRL, packing", packing),
        Side("TRL, padding-free", padding_free),
        Side("TRL, one by one", micro_batches(examples_per_rank, 1)),
        Side("TRL, padding", micro_batches(examples_per_rank, 3)),
    ]


def micro_batches(per_rank: int, size: int) -> dict[str, int]:
    """TRL's settings for `per_rank` rows a step, about `size` at a time."""
    steps = round(per_rank / size)
    return {
        "per_device_train_batch_size": round(per_rank / steps),
        "gradient_accumulation_steps": steps,
    }


def write_model(folder: Path) -> None:
    """The LLaMA that all start from, in Hugging Face format."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(intermediate_size=688, rms_norm_eps=1e-6, **MODEL_SIZES)
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
        *RUN_OVERRIDES,
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


def run_side(side: Side, folder: Path, arguments: argparse.Namespace) -> Measured:
    """One run of one side, in a new directory."""
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    steps = arguments.warmup_steps + arguments.steps
    if side.settings is None:
        command = [sys.executable, "-m", "llama_gpt4.train", *our_overrides(folder)]
        command += [f"run_dir={run_dir}", f"train.steps={steps}"]
        command.append(f"precision.float32_matmul={arguments.float32_matmul}")
    else:
        command = [arguments.peer_python, str(HERE / "peer_trl.py"), *peer_options(side, folder)]
        command += ["--run-dir", str(run_dir), "--steps", str(steps)]
        command += ["--float32-matmul", arguments.float32_matmul]
    return measure(side.name, command, run_dir, arguments.warmup_steps, arguments.steps)


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


def table_lines(sides: list[Side], runs: list[Measured]) -> Iterator[str]:
    """Medians over the repeats; ratios are medians of the ratios within a repeat."""
    of = {side.name: [run for run in runs if run.side == side.name] for side in sides}
    ours = of[sides[0].name]
    yield "| | tokens/s | tokens per CPU second | peak MiB a rank | first loss | ours / this: " + (
        "tokens/s | per CPU second | memory |"
    )
    yield "|---" * 8 + "|"
    for name, theirs in of.items():
        cells = [
            f"{median(run.tokens_per_second for run in theirs):.0f}",
            f"{median(run.tokens_per_cpu_second for run in theirs):.0f}",
            f"{median(run.peak_bytes for run in theirs) / 2**20:.0f}",
            f"{theirs[0].first_loss:.3f}",
            f"{ratio(ours, theirs, 'tokens_per_second'):.2f}",
            f"{ratio(ours, theirs, 'tokens_per_cpu_second'):.2f}",
            f"{ratio(ours, theirs, 'peak_bytes'):.2f}",
        ]
        yield f"| {name} | " + " | ".join(cells) + " |"


def ratio(ours: list[Measured], theirs: list[Measured], quantity: str) -> float:
    """Median over the repeats of the ratio within a repeat, where both met the same load."""
    pairs = zip(ours, theirs, strict=True)
    return median(getattr(a, quantity) / getattr(b, quantity) for a, b in pairs)


def store(runs: list[Measured], table: str, arguments: argparse.Namespace) -> None:
    """Every run to results/train_cpu_<precision>.csv; the table, and what it is of, to .md."""
    folder = HERE / "results"
    name = f"train_cpu_{arguments.float32_matmul}"
    write_rows(folder / f"{name}.csv", [asdict(run) for run in runs])
    loads = [run.load for run in runs]
    text = f"""# Training on two CPU processes: us and TRL

Written by `python benchmarks/train_cpu.py` on {date.today()}, commit {commit()}.
{processor()}, {os.cpu_count()} cores; ours {versions(sys.executable, *LIBRARIES)}; TRL's
{versions(arguments.peer_python, *LIBRARIES)}. LLaMA of 22.7 million parameters (hidden 256,
8 layers, vocabulary 32,000), float32, `float32_matmul_precision={arguments.float32_matmul}`,
rows of {ROW_TOKENS} tokens, about {STEP_TOKENS:,} tokens a step,
ZeRO-3 over {RANKS} ranks of one thread. {arguments.repeats} interleaved repeats of
{arguments.steps} steps after {arguments.warmup_steps}; medians. Others kept the machine at load
averages of {min(loads):.1f} to {max(loads):.1f}: where these exceed {RANKS}, the CPU seconds say
more than the clock.

{table}

{LESSON}
"""
    (folder / f"{name}.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
