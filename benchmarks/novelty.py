"""Seconds of the novelty filter over 52,002 instructions: ours, and the way of stanford_alpaca.

    python benchmarks/novelty.py [--texts 52002] [--results benchmarks/results/novelty.md]

The texts are real instructions of `LLAMA_GPT4_REAL_DATA` and copies of them with words exchanged. A
text stays if its ROUGE-L F with every text that stays is at most 0.7. Ours runs in full, once in
each mode; the peer's way, a pool of processes that scores one candidate against all texts that stay
with rouge-score's `_score_lcs` (stanford_alpaca's `generate_instruction.py`, with as many processes
as there are cores), takes hours: it is timed on candidates at several sizes of what stays, its
decisions are compared with ours, and its total is the sum of the line through those times.
"""

import argparse
import csv
import json
import os
import platform
import random
import sys
import time
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.metadata import version
from multiprocessing import Pool
from pathlib import Path
from statistics import mean, median

from machine import ROOT, commit, processor, write_report
from rouge_score.rouge_scorer import _score_lcs

from llama_gpt4.rouge import TOKENIZERS
from llama_gpt4.similarity import SimilarityIndex

THRESHOLD = 0.7
GOAL_SECONDS = 15
MODES = (("latin", "rouge_score"), ("latin", "exact"), ("mixed", "exact"))
LANGUAGES = {"latin": "English", "mixed": "English, Chinese"}


@dataclass(frozen=True)
class Row:
    """One way of filtering all texts."""

    side: str
    tokens: str
    decisions: str
    stay: int
    seconds: float
    cpu_seconds: float | None
    """Of this process; the clock also counts what else the cores are busy with."""


def real_instructions(folder: Path) -> dict[str, list[str]]:
    """English and Chinese ones, each once."""

    def lines(name: str, key: str) -> list[str]:
        return [json.loads(line)[key] for line in (folder / name).read_text("utf-8").splitlines()]

    def records(name: str) -> list[str]:
        return [record["instruction"] for record in json.loads((folder / name).read_text("utf-8"))]

    english = [
        *records("alpaca_gpt4_en.json"),
        *lines("seed_tasks.jsonl", "instruction"),
        *lines("user_oriented_instructions.jsonl", "instruction"),
        *lines("vicuna_question_80.jsonl", "text"),
    ]
    return {
        "en": list(dict.fromkeys(english)),
        "zh": list(dict.fromkeys(records("alpaca_gpt4_zh.json"))),
    }


def grown(texts: list[str], count: int, unit: str, seed: int = 0) -> list[str]:
    """`texts` and copies of them in random order. In a copy, a tenth to six tenths of the words (of
    the characters where no `unit` is between them) come from other texts."""
    draw = random.Random(seed)
    split = str.split if unit else list
    parts = [part for text in texts for part in split(text)]
    pool = list(texts)
    while len(pool) < count:
        words = split(draw.choice(texts))
        for place in draw.sample(range(len(words)), round(len(words) * draw.uniform(0.1, 0.6))):
            words[place] = draw.choice(parts)
        pool.append(unit.join(words))
    draw.shuffle(pool)
    return pool[:count]


def filter_in_full(texts: list[str], tokenizer: str, decisions: str) -> tuple[Row, list[bool]]:
    """What it takes, and which texts stay."""
    start, cpu_start = time.perf_counter(), time.process_time()
    index = SimilarityIndex(THRESHOLD, tokenizer=tokenizer, decisions=decisions)
    stays = [index.admit(text) is None for text in texts]
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return Row("ours", tokenizer, decisions, sum(stays), seconds, cpu_seconds), stays


def time_peer(
    texts: list[str], stays: list[bool], places: list[int], processes: int
) -> list[tuple[int, float]]:
    """How many texts stay before a candidate, and the seconds to decide on it; at each of `places`.

    As stanford_alpaca: tokens of what stays are kept, and each candidate has a new pool.
    """
    tokens = [TOKENIZERS["latin"](text) for text in texts]
    timed = []
    for place in places:
        pool = [tokens[other] for other in range(place) if stays[other]]
        start = time.perf_counter()
        with Pool(processes) as workers:
            scores = workers.map(partial(_score_lcs, tokens[place]), pool)
        is_kept = max((score.fmeasure for score in scores), default=0.0) <= THRESHOLD
        timed.append((len(pool), time.perf_counter() - start))
        assert is_kept == stays[place], f"text {place} is decided otherwise: {texts[place]}"
    return timed


def extrapolated(timed: list[tuple[int, float]], stays: list[bool]) -> float:
    """Seconds of all candidates, if each takes what the least-squares line gives for its pool."""
    sizes, seconds = zip(*timed, strict=True)
    middle = mean(sizes)
    slope = sum((n - middle) * s for n, s in timed) / sum((n - middle) ** 2 for n in sizes)
    start = mean(seconds) - slope * middle
    total, pool = 0.0, 0
    for stay in stays:
        total += max(0.0, start + slope * pool)
        pool += stay
    return total


def report(rows: list[Row], timed: list[tuple[int, float]], texts: list[str], load: str) -> str:
    *ours, peer = rows
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("rapidfuzz", "rouge-score", "numpy")
    )
    lengths = [len(TOKENIZERS["latin"](text)) for text in texts]
    pools = [pool for pool, _ in timed]
    lines = [
        "# The novelty filter",
        "",
        f"{date.today()}, commit {commit()}, {processor()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {versions}; load average before {load}.",
        f"{len(texts):,} instructions (median {median(lengths):.0f} tokens) one after the other, "
        f"kept if ROUGE-L F with all that stay is at most {THRESHOLD}. Made by "
        f"`python benchmarks/novelty.py`. The goal is {GOAL_SECONDS} s for 52,002.",
        "",
        "| | texts | tokens | decisions | stay | seconds | CPU seconds | peer / ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        is_comparable = row in ours and row.tokens == peer.tokens
        ratio = f"{peer.seconds / row.seconds:,.0f}" if is_comparable else ""
        cpu = "" if row.cpu_seconds is None else f"{row.cpu_seconds:.1f}"
        lines.append(
            f"| {row.side} | {LANGUAGES[row.tokens]} | {row.tokens} | {row.decisions} "
            f"| {row.stay:,} | {row.seconds:,.1f} | {cpu} | {ratio} |"
        )
    lines += [
        "",
        f"stanford_alpaca's way was timed on {len(timed)} candidates against {min(pools):,} to "
        f"{max(pools):,} texts ({sum(seconds for _, seconds in timed):.0f} s, {os.cpu_count()} "
        "processes), and the line through these times gives the sum over all candidates: "
        f"{peer.seconds / 3600:.1f} hours. On each of the timed ones it decides as ours does.",
    ]
    return "\n".join(lines) + "\n"


def write_csv(path: Path, rows: list[Row], timed: list[tuple[int, float]]) -> None:
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["side", "tokens", "decisions", "stay", "seconds", "cpu_seconds"])
        for row in rows:
            cpu = "" if row.cpu_seconds is None else round(row.cpu_seconds, 3)
            seconds = round(row.seconds, 3)
            table.writerow([row.side, row.tokens, row.decisions, row.stay, seconds, cpu])
        for pool, seconds in timed:
            side = "stanford_alpaca, one candidate"
            table.writerow([side, "latin", "rouge_score", pool, round(seconds, 3)])


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the novelty filter, and the peer's.")
    parser.add_argument("--texts", type=int, default=52_002)
    parser.add_argument("--candidates", type=int, default=12, help="on which the peer is timed")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/novelty.md")
    options = parser.parse_args()
    if "LLAMA_GPT4_REAL_DATA" not in os.environ:
        sys.exit("LLAMA_GPT4_REAL_DATA names no folder: it has to hold real instructions")
    load = f"{os.getloadavg()[0]:.1f}"
    real = real_instructions(Path(os.environ["LLAMA_GPT4_REAL_DATA"]))
    english = grown(real["en"], options.texts, " ")
    half = options.texts // 2
    both = grown(real["en"], options.texts - half, " ") + grown(real["zh"], half, "")
    random.Random(0).shuffle(both)
    rows: list[Row] = []
    stays: dict[tuple[str, str], list[bool]] = {}
    for mode in MODES:
        row, stays[mode] = filter_in_full(both if mode[0] == "mixed" else english, *mode)
        rows.append(row)
        print(row, flush=True)
    kept = stays["latin", "rouge_score"]
    places = [options.texts * n // options.candidates - 1 for n in range(1, options.candidates + 1)]
    timed = time_peer(english, kept, places, os.cpu_count() or 1)
    total = extrapolated(timed, kept)
    rows.append(
        Row("stanford_alpaca, extrapolated", "latin", "rouge_score", sum(kept), total, None)
    )
    text = report(rows, timed, english, load)
    write_report(options.results, text)
    write_csv(options.results.with_suffix(".csv"), rows, timed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
