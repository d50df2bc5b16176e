"""Reward training on two CPU processes: us and TRL's RewardTrainer, in turns, on the same pairs.

    python benchmarks/reward_cpu.py [--contest llama_pairs] [--peer-python /venv/bin/python]

All start from the same `…ForSequenceClassification` folder, head included, and read the same
tokens in the same steps, in DeepSpeed ZeRO-3, float32, one thread a rank: the first loss shows that
it is the same work. Runs are measured from outside, as in `train_cpu.py`. Contests
of pairs are on the comparisons of `LLAMA_GPT4_REAL_DATA` (two responses a prompt), the one of three
on as many responses a prompt of the shipped sample; there TRL is given all three pairs.
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
from statistics import mean, median

from machine import commit, processor, versions, write_rows
from measured_run import RANKS, Measured, measure
from train_cpu import (
    DEEPSPEED,
    HERE,
    LIBRARIES,
    MODEL_SIZES,
    RUN_OVERRIDES,
    micro_batches,
    ratio,
)

OURS = "ours"


@dataclass(frozen=True)
class Contest:
    """What both sides train on what."""

    model: str
    """LLaMA, which our own code computes, or OPT, which `transformers` does on both sides."""
    responses: int
    """To a prompt; all of their pairs count."""
    prompts_per_step: int
    peer_sizes: tuple[int, ...]
    """Pairs that TRL takes at a time, on one rank."""

    @property
    def pairs_per_step(self) -> int:
        return self.prompts_per_step * self.responses * (self.responses - 1) // 2


CONTESTS = {
    "llama_pairs": Contest("LLaMA", 2, 4, (2, 1)),
    "llama_three": Contest("LLaMA", 3, 8, (12, 3)),
    "opt_pairs": Contest("OPT", 2, 4, (2, 1)),
}


@dataclass(frozen=True)
class Work:
    """What `steps` steps read, by any side."""

    responses: int
    mean_tokens: float
    """Of a response with its prompt."""
    prompt_share: float
    """Of their tokens, those of prompts that come with a response before, which we read once."""


def main() -> int:
    arguments = _arguments()
    if "LLAMA_GPT4_REAL_DATA" not in os.environ:
        print(
            "LLAMA_GPT4_REAL_DATA names no folder: it has to hold comparison_en.json, "
            "comparison_zh.json and llama_tokenizer/",
            file=sys.stderr,
        )
        return 2
    for name in arguments.contest or CONTESTS:
        contest = CONTESTS[name]
        with tempfile.TemporaryDirectory() as folder:
            compete(name, contest, Path(folder), arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contest", action="append", choices=CONTESTS)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has TRL")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="measured in each run")
    parser.add_argument("--warmup-steps", type=int, default=1)
    return parser.parse_args()


def compete(name: str, contest: Contest, folder: Path, arguments: argparse.Namespace) -> None:
    """Run one contest, side by side and `repeats` times, and store its table after each."""
    writer = multiprocessing.get_context("spawn").Process(
        target=write_model, args=(contest.model, folder / "model")
    )
    writer.start()
    writer.join()
    if contest.responses > 2:
        write_sample(contest.responses, folder / "comparisons.json")
    work = write_pairs(contest, folder, arguments)
    runs = []
    for repeat in range(arguments.repeats):
        for size in (None, *contest.peer_sizes):
            run = run_side(size, contest, folder, arguments)
            print(f"{name} {repeat + 1}: {run}", flush=True)
            runs.append(run)
        # Each time, so that a run that is ended leaves the repeats that it has measured.
        table = "\n".join(table_lines(contest, work, runs, arguments.steps))
        store(name, contest, work, runs, table, arguments.steps)
    print(table, flush=True)


def write_model(kind: str, folder: Path) -> None:
    """The reward model that all start from, in Hugging Face format."""
    import torch
    import transformers as hf

    torch.manual_seed(0)
    if kind == "LLaMA":
        sizes = MODEL_SIZES | {"intermediate_size": 688, "rms_norm_eps": 1e-6}
        llama = hf.LlamaConfig(num_labels=1, **sizes)
        hf.LlamaForSequenceClassification(llama).save_pretrained(folder)
    else:
        # Dropout would make the first losses differ.
        sizes = MODEL_SIZES | {"ffn_dim": 1024, "word_embed_proj_dim": 256}
        opt = hf.OPTConfig(num_labels=1, dropout=0.0, **sizes)
        hf.OPTForSequenceClassification(opt).save_pretrained(folder)


def write_sample(responses: int, path: Path) -> None:
    """The shipped comparisons, with the first `responses` of each prompt that differ in score."""
    from llama_gpt4_data.comparisons import read_comparisons
    from llama_gpt4_data.reward_writer import rendered

    records = []
    for comparison in read_comparisons(["sample:comparisons_en", "sample:comparisons_zh"]):
        by_score = {each.score: each.text for each in reversed(comparison.responses)}
        kept = list(by_score.items())[-responses:]
        scored = [{"response": text, "source": "x", "score": score} for score, text in kept]
        records.append({"user_input": rendered(comparison), "responses_and_scores": scored})
    path.write_text(json.dumps(records, ensure_ascii=False))


def our_overrides(contest: Contest, folder: Path) -> list[str]:
    """Our command line but for `run_dir` and `train.steps`."""
    data = Path(os.environ["LLAMA_GPT4_REAL_DATA"]).resolve()
    files = [data / "comparison_en.json", data / "comparison_zh.json"]
    if contest.responses > 2:
        files = [folder / "comparisons.json"]
    return [
        "model=from_path",
        f"model.path={folder / 'model'}",
        f"tokenizer.path={data / 'llama_tokenizer'}",
        f"data.files=[{','.join(map(str, files))}]",
        f"data.cache_dir={folder / 'cache'}",
        "data.row_tokens=1024",
        "data.validation.share=0",
        f"batch.prompts_per_step={contest.prompts_per_step}",
        f"batch.prompts_per_micro_step={contest.prompts_per_step // RANKS}",
        "train.eval_every_steps=0",
        *RUN_OVERRIDES,
    ]


def write_pairs(contest: Contest, folder: Path, arguments: argparse.Namespace) -> Work:
    """The pairs of our steps for TRL, a step after the other."""
    from llama_gpt4_data.reward_batches import RewardBatches
    from llama_gpt4_data.reward_config import RewardConfig
    from llama_gpt4_data.reward_data import prepare
    from llama_gpt4_data.reward_model import apart

    from llama_gpt4.compose import compose

    config = compose(RewardConfig, "reward", [*our_overrides(contest, folder), f"run_dir={folder}"])
    batches = RewardBatches(
        prepare(config).train,
        config.loss,
        prompts_per_step=contest.prompts_per_step,
        prompts_per_micro_step=contest.prompts_per_step,
        seed=config.seed,
        rank=0,
        world_size=1,
    )
    lengths: list[int] = []
    again = 0
    with open(folder / "pairs.jsonl", "w") as file:
        for step in range(arguments.warmup_steps + arguments.steps):
            (batch,) = batches.micro_batches(step)
            assert len(batch.pairs) == contest.pairs_per_step, "a step of another size"
            rows = [ids.tolist() for ids in apart(batch.tokens, batch.groups)]
            for better, worse in batch.pairs.tolist():
                pair = {"chosen_ids": rows[better], "rejected_ids": rows[worse]}
                file.write(json.dumps(pair) + "\n")
            if step >= arguments.warmup_steps:
                lengths += map(len, rows)
                again += sum(map(len, rows)) - len(batch.tokens)
    return Work(len(lengths), mean(lengths), again / sum(lengths))


def run_side(
    size: int | None, contest: Contest, folder: Path, arguments: argparse.Namespace
) -> Measured:
    """One run in a new directory: of TRL with `size` pairs at a time, or of us."""
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    steps = arguments.warmup_steps + arguments.steps
    if size is None:
        name = OURS
        command = [sys.executable, "-m", "llama_gpt4_data.reward", *our_overrides(contest, folder)]
        command += [f"run_dir={run_dir}", f"train.steps={steps}"]
    else:
        name = f"TRL, {size} at a time"
        command = [arguments.peer_python, str(HERE / "peer_trl_reward.py")]
        command += peer_options(size, contest, folder)
        command += ["--run-dir", str(run_dir), "--steps", str(steps)]
    return measure(name, command, run_dir, arguments.warmup_steps, arguments.steps)


def peer_options(size: int, contest: Contest, folder: Path) -> list[str]:
    """What TRL's side is started with, with the ZeRO settings of ours."""
    from llama_gpt4_data.reward_config import RewardConfig

    from llama_gpt4.compose import compose
    from llama_gpt4.deepspeed_config import deepspeed_config

    config = compose(RewardConfig, "reward", [*our_overrides(contest, folder), f"run_dir={folder}"])
    zero = deepspeed_config(config, hidden_size=256, world_size=RANKS)["zero_optimization"]
    options = {
        "--model": folder / "model",
        "--tokenizer": Path(os.environ["LLAMA_GPT4_REAL_DATA"]).resolve() / "llama_tokenizer",
        "--examples": folder / "pairs.jsonl",
        "--settings": json.dumps(micro_batches(contest.pairs_per_step // RANKS, size)),
        "--deepspeed": json.dumps(DEEPSPEED | {"zero_optimization": zero}),
    }
    return [str(part) for option in options.items() for part in option]


def table_lines(contest: Contest, work: Work, runs: list[Measured], steps: int) -> Iterator[str]:
    """Medians over the repeats; ratios are medians of the ratios within a repeat."""
    sides = {run.side: [r for r in runs if r.side == run.side] for run in runs}
    yield "| | pairs/s | distinct responses/s | CPU s a step | peak MiB a rank | first loss | " + (
        "ours / this: speed | per CPU second | memory |"
    )
    yield "|---" * 9 + "|"
    for name, found in sides.items():
        seconds = median(run.seconds for run in found)
        # Time is of the same pairs on both sides, so speed is its inverse.
        cells = [
            f"{contest.pairs_per_step * steps / seconds:.2f}",
            f"{work.responses / seconds:.2f}",
            f"{median(run.cpu_seconds for run in found) / steps:.2f}",
            f"{median(run.peak_bytes for run in found) / 2**20:.0f}",
            f"{found[0].first_loss:.6f}",
            f"{ratio(found, sides[OURS], 'seconds'):.2f}",
            f"{ratio(found, sides[OURS], 'cpu_seconds'):.2f}",
            f"{ratio(sides[OURS], found, 'peak_bytes'):.2f}",
        ]
        yield f"| {name} | " + " | ".join(cells) + " |"


def store(
    name: str, contest: Contest, work: Work, runs: list[Measured], table: str, steps: int
) -> None:
    """Every run to results/reward_cpu_<contest>.csv; the table, and what it is of, to .md."""
    path = HERE / "results" / f"reward_cpu_{name}"
    write_rows(path.with_suffix(".csv"), [asdict(run) for run in runs])
    loads = [run.load for run in runs]
    repeats = sum(run.side == OURS for run in runs)
    text = f"""# Training a reward model on two CPU processes: us and TRL ({name})

Written by `python benchmarks/reward_cpu.py --steps {steps}` on {date.today()}, commit {commit()}.
{processor()}, {os.cpu_count()} cores; {versions(sys.executable, *LIBRARIES)}. {contest.model} with
hidden 256, 8 layers, vocabulary 32,000; float32, ZeRO-3 over {RANKS} ranks of one thread.
{contest.prompts_per_step} prompts of {contest.responses} responses a step, that is
{contest.pairs_per_step} pairs; a response with its prompt has {work.mean_tokens:.0f} tokens in the
mean. {repeats} interleaved repeats of {steps} steps after the warm-up; medians. Load averages
before the runs: {min(loads):.1f} to {max(loads):.1f}, our own runs included.

{table}

`distinct responses/s` counts a response once, however many pairs it is in; TRL reads it once
a pair. Of the tokens of all responses, {work.prompt_share:.0%} are of a prompt that comes with
another response as well; we read these once.
"""
    path.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
