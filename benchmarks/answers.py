"""Tokens a CPU second of `llama-gpt4 answer`: continuous batching against padded batches.

    python benchmarks/answers.py [--results benchmarks/results/answers.md]

LLaMAs with random weights, float32, one thread. One in forty ids ends an answer, so that drawn
answers have the lengths of a model that stops with that probability at each token; both sides draw
the same answers, which is checked. A batch is padded to its longest prompt and waits for its
longest answer, as `transformers.generate` does.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median

import torch
from machine import ROOT, facts, write_report
from transformers import LlamaConfig, LlamaForCausalLM

from llama_gpt4.chat_tokens import ChatTokens, Row
from llama_gpt4.continuous import answered
from llama_gpt4.decoding import DecodingConfig
from llama_gpt4.generation import Generator

SIZES = {"tiny": (128, 4, 2048), "small": (384, 6, 32000)}
"""Hidden size, layers, vocabulary."""
ENDING_FRAC = 1 / 40
DECODING = DecodingConfig(max_new_tokens=256, temperature=1.0, top_p=1.0)
SHARED_TOKENS = 36
"""Alpaca's prompts begin alike; LLaMA's tokenizer makes that many of it."""

Found = Iterator[list[tuple[Row, list[int]]]]


def generator(size: str) -> Generator:
    """A model of random weights that ends answers as often as one that was trained."""
    hidden, layers, vocabulary = SIZES[size]
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3 // 8 * 8,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 32,
            max_position_embeddings=1024,
        )
    ).eval()
    ending = set(range(3, 3 + int(vocabulary * ENDING_FRAC)))
    return Generator(model, ChatTokens(None, None, ending, 1024))  # nothing is turned into text


def rows(n: int, vocabulary: int) -> list[tuple[Row, int]]:
    """`n` prompts of random tokens, whose first are the same, and the most new tokens of each."""
    source = torch.Generator().manual_seed(0)
    first = torch.randint(3, vocabulary, (SHARED_TOKENS,), generator=source).tolist()
    found = []
    for place in range(n):
        length = int(torch.randint(15, 120, (), generator=source))
        own = torch.randint(3, vocabulary, (length,), generator=source).tolist()
        found.append((Row(str(place), 0, first + own), DECODING.max_new_tokens))
    return found


def timed(run: Callable[[], Found], ending: set[int]) -> tuple[float, dict[str, list[int]]]:
    """CPU seconds, and the answers up to their ends."""
    start = time.process_time()
    new = {row.key: ids for batch in run() for row, ids in batch}
    seconds = time.process_time() - start
    ends = {k: next((i for i, id in enumerate(ids) if id in ending), 256) for k, ids in new.items()}
    return seconds, {key: ids[: ends[key] + 1] for key, ids in new.items()}


def line(size: str, n: int, batch_size: int, rounds: int) -> str:
    """A line of the table: tokens a CPU second of both sides, and how many answers are equal."""
    made = generator(size)
    model, ending = made._model, made.tokens.end_ids
    asked = rows(n, model.config.vocab_size)
    sides: list[Callable[[], Found]] = [
        lambda: answered(model, ending, asked, DECODING, 0, batch_size),
        lambda: made._padded(asked, DECODING, 0, batch_size),
    ]
    runs = [[timed(side, ending) for side in sides] for _ in range(rounds)]
    answers = [found for turn in runs for _, found in turn]
    same = sum(answers[0][key] == answers[1][key] for key in answers[0])
    lengths = [len(ids) for ids in answers[0].values()]
    rates = [sum(lengths) / median(turn[side][0] for turn in runs) for side in (0, 1)]
    parameters = sum(weights.numel() for weights in model.parameters()) / 1e6
    return (
        f"| {parameters:.1f} M | {batch_size} | {n}, {mean(lengths):.0f} tokens, at most "
        f"{max(lengths)} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[0] / rates[1]:.2f} "
        f"| {same} of {n} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Time continuous and padded batches.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/answers.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = f"{os.getloadavg()[0]:.1f}"
    lines = [
        "# Answers, continuous and padded batches",
        "",
        f"{facts('torch', 'transformers')}; load average before {load}.",
        f"float32, one thread; new tokens a CPU second, medians of {options.rounds} rounds in "
        "turn, since the machine was shared. Made by `python benchmarks/answers.py`.",
        "",
        "| model | at once | answers | continuous | padded | ratio | the same |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        for batch_size in (16, 64):
            lines.append(line(size, options.questions, batch_size, options.rounds))
            print(lines[-1], file=sys.stderr)
    text = "\n".join(lines) + "\n"
    write_report(options.results, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
