"""Seconds of ROUGE-1, -2 and -L of 9,000 pairs: ours, and rouge-score, turn by turn in one process.

    python benchmarks/rouge.py [--pairs 9000] [--rounds 5] [--results benchmarks/results/rouge.md]

A prediction is a real answer of `LLAMA_GPT4_REAL_DATA`. Its reference are the first words of the
same answer, as many as the paper's references on Unnatural Instructions are long (5,089 of up to 2
words, 868 of 3 to 5, 936 of 6 to 10, 2,107 longer ones), or another model's answer to the same
question, both long. Both sides start from texts and end with three F a pair, which are compared.
"""

import argparse
import csv
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from machine import ROOT, facts, write_report
from rouge_score.rouge_scorer import RougeScorer

from llama_gpt4.evaluation.rouge_scores import MEASURES, score_questions
from llama_gpt4.rouge import latin
from llama_gpt4.statistics import Floats

GOAL = 10
SIZES = {(1, 2): 5089, (3, 5): 868, (6, 10): 936, (11, 120): 2107}
"""Words of references, and how many of the paper's 9,000 have them."""

Pairs = tuple[list[str], list[str]]
Side = Callable[[list[str], list[str]], Floats]


def published_lengths(folder: Path, count: int, draw: random.Random) -> Pairs:
    records = json.loads((folder / "alpaca_gpt4_en.json").read_text("utf-8"))
    answers = [r["output"] for r in records if len(r["output"].split()) > 12]
    references, predictions = [], []
    for least, most in draw.choices(list(SIZES), list(SIZES.values()), k=count):
        answer = draw.choice(answers)
        words = answer.split()
        references.append(" ".join(words[: draw.randint(least, min(most, len(words)))]))
        predictions.append(answer)
    return references, predictions


def long_answers(folder: Path, count: int, draw: random.Random) -> Pairs:
    files = [
        {
            line["question_id"]: line["text"]
            for line in map(json.loads, path.read_text("utf-8").splitlines())
        }
        for path in sorted((folder / "vicuna" / "answers").glob("*.jsonl"))
    ]
    references, predictions = [], []
    for _ in range(count):
        one, other = draw.sample(files, 2)
        question = draw.choice(list(one.keys() & other.keys()))
        references.append(one[question])
        predictions.append(other[question])
    return references, predictions


def ours(references: list[str], predictions: list[str]) -> Floats:
    return score_questions(references, [[text] for text in predictions], latin)


def theirs(references: list[str], predictions: list[str]) -> Floats:
    scorer = RougeScorer(list(MEASURES))
    scores = map(scorer.score, references, predictions)
    return np.array([[score[measure].fmeasure for measure in MEASURES] for score in scores])


def timed(pairs: Pairs, rounds: int) -> tuple[list[float], list[float], float]:
    """CPU seconds of us and of the peer in each round, and the greatest difference of scores."""
    seconds: dict[Side, list[float]] = {ours: [], theirs: []}
    scores: dict[Side, Floats] = {}
    for _ in range(rounds):
        for side in seconds:
            start = time.process_time()
            scores[side] = side(*pairs)
            seconds[side].append(time.process_time() - start)
    return seconds[ours], seconds[theirs], float(abs(scores[ours] - scores[theirs]).max())


def report(rows: list[tuple[str, Pairs, list[float], list[float], float]], load: str) -> str:
    lines = [
        "# ROUGE",
        "",
        f"{facts('rapidfuzz', 'rouge-score')}; load average before {load}.",
        "ROUGE-1, -2 and -L F from texts, one process, medians of "
        f"{len(rows[0][2])} rounds in turn; CPU seconds, since the machine was shared. Made by "
        f"`python benchmarks/rouge.py`. The goal is {GOAL} times rouge-score on 9,000 pairs.",
        "",
        "| pairs | reference, prediction (mean words) | ours s | rouge-score s | ratio "
        "| pairs/s | greatest difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (references, predictions), us, them, apart in rows:
        n = len(references)
        words = [
            np.mean([len(text.split()) for text in texts]) for texts in (references, predictions)
        ]
        lines.append(
            f"| {n:,}, {name} | {words[0]:.0f}, {words[1]:.0f} | {median(us):.3f} "
            f"| {median(them):.2f} | {median(them) / median(us):.1f} | {n / median(us):,.0f} "
            f"| {apart:g} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Time ROUGE of pairs, and rouge-score's.")
    parser.add_argument("--pairs", type=int, default=9_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/rouge.md")
    options = parser.parse_args()
    if "LLAMA_GPT4_REAL_DATA" not in os.environ:
        sys.exit("LLAMA_GPT4_REAL_DATA names no folder: it has to hold real answers")
    folder, load = Path(os.environ["LLAMA_GPT4_REAL_DATA"]), f"{os.getloadavg()[0]:.1f}"
    made = {
        "lengths as published": published_lengths(folder, options.pairs, random.Random(0)),
        "long answers": long_answers(folder, options.pairs // 10, random.Random(0)),
    }
    rows = [(name, pairs, *timed(pairs, options.rounds)) for name, pairs in made.items()]
    text = report(rows, load)
    write_report(options.results, text)
    with open(options.results.with_suffix(".csv"), "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["pairs", "round", "ours_cpu_seconds", "rouge_score_cpu_seconds"])
        for name, _, us, them, _ in rows:
            for turn, (one, other) in enumerate(zip(us, them, strict=True)):
                table.writerow([name, turn, round(one, 4), round(other, 4)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
