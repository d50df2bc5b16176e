"""Seconds from JSON to packed rows of 52,002 records: ours, TRL's way and LLaMA-Factory's.

    python benchmarks/prepare.py [--repeats 3] [--results benchmarks/results/prepare.md]

The records are those of `LLAMA_GPT4_REAL_DATA` again and again, each time with other words, so that
none is there twice and new words come as often as in 52,002 different texts. All sides get the same
records, prompts and LLaMA's own tokenizer, and take turns, each in a process of its own with empty
caches; what it takes to import is not counted, but what it takes to start more processes is. Ours
runs on one core and on two, on which it starts two processes that tokenise. TRL and LLaMA-Factory
run with one and with two processes in the first round, and then with what was the better. See
`prepare_run.py`.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from machine import ROOT, facts, write_report, write_rows

from llama_gpt4.prompt import CHAT_TEMPLATE
from llama_gpt4.tokenizer import Tokenizer

RUN = Path(__file__).with_name("prepare_run.py")
ROW_TOKENS = 2048
PEERS = ("TRL", "LLaMA-Factory")
EXCHANGED, MISSPELT = 0.2, 0.11
"""Shares of the words of a record that come from another one, and that get another letter: about
320,000 different words in 52,002 English records."""
GOALS = "6 s cold, 0.5 s warm, 99.7 % full, 3 times the better peer (stretch: 4)"

Records = list[dict[str, str]]
Results = dict[tuple[str, str, int], list[dict[str, Any]]]


@dataclass(frozen=True)
class Bench:
    """What all runs share."""

    folder: Path
    records: dict[str, Path]
    """By language."""

    def run(self, side: str, language: str, processes: int, caches: Path) -> dict[str, Any]:
        """What a run took and what came of it."""
        arguments = (self.records[language], self.folder / "tokenizer", caches, ROW_TOKENS)
        done = subprocess.run(
            [sys.executable, str(RUN), side, *map(str, arguments), str(processes)],
            env=os.environ | {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        print(side, language, processes, {k: round(v, 4) for k, v in result.items()}, flush=True)
        return result


def grown(records: Records, count: int, unit: str, seed: int = 0) -> Records:
    """`count` records made of `records`; `unit` is what stands between their words."""
    draw = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"

    def split(text: str) -> list[str]:
        return text.split(unit) if unit else list(text)

    pool = [word for record in records for text in record.values() for word in split(text)]

    def altered(text: str) -> str:
        words = split(text)
        for place, word in enumerate(words):
            chance = draw.random()
            if chance < EXCHANGED:
                words[place] = draw.choice(pool)
            elif chance < EXCHANGED + MISSPELT and len(word) > 1:
                at = draw.randrange(len(word))
                words[place] = word[:at] + draw.choice(letters) + word[at + 1 :]
        return unit.join(words)

    made: Records = []
    while len(made) < count:
        record = {key: altered(text) for key, text in records[len(made) % len(records)].items()}
        if record["instruction"].strip() and record["output"].strip():
            made.append(record)
    return made


def measure(bench: Bench, repeats: int) -> Results:
    """All runs, by side, language and processes; a warm run of ours has 0 processes."""
    results: Results = defaultdict(list)
    processes_of = {side: [1, 2] for side in PEERS}
    for _ in range(repeats):
        for language in bench.records:
            for runs in ((1,), (2, 0)):
                with tempfile.TemporaryDirectory(dir=bench.folder) as caches:
                    for n in runs:
                        result = bench.run("ours", language, n, Path(caches))
                        results["ours", language, n].append(result)
        for side in PEERS:
            for n in processes_of[side]:
                with tempfile.TemporaryDirectory(dir=bench.folder) as caches:
                    results[side, "en", n].append(bench.run(side, "en", n, Path(caches)))
            better = min((1, 2), key=lambda n: _median(results[side, "en", n], "seconds"))
            processes_of[side] = [better]
    return results


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return median(run[key] for run in runs)


def report(results: Results, n_records: int, load: str) -> str:
    """The table of `results`, with what it was measured on."""
    cold = results["ours", "en", 2]
    lines = [
        "# From JSON to packed rows",
        "",
        f"{facts('tokenizers', 'datasets', 'transformers', 'trl', 'numpy')}; load average before "
        f"{load}.",
        f"{n_records:,} records, LLaMA's 32,000 pieces, rows of {ROW_TOKENS:,} tokens; medians, "
        f"least and most of {len(cold)} rounds in turn. Made by `python benchmarks/prepare.py`; "
        f"goals for English: {GOALS}.",
        "",
        "| | records | processes | seconds | CPU seconds | tokens | full | seconds / ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (side, language, n), runs in sorted(results.items(), key=lambda item: item[0][1]):
        seconds = [run["seconds"] for run in runs]
        ratio = f"{median(seconds) / _median(cold, 'seconds'):.1f}" if side in PEERS else ""
        name = side if n else f"{side}, warm"
        lines.append(
            f"| {name} | {language} | {n or 1} | {median(seconds):.2f} "
            f"({min(seconds):.2f} to {max(seconds):.2f}) | {_median(runs, 'cpu_seconds'):.2f} "
            f"| {runs[0]['tokens']:,} | {runs[0]['fill']:.2%} | {ratio} |"
        )
    better = min(
        _median(runs, "seconds") for (side, _, _), runs in results.items() if side in PEERS
    )
    lines += [
        "",
        f"The better peer takes {better / _median(cold, 'seconds'):.1f} times as long as ours. "
        "Tokens differ because TRL tokenises prompt and answer as one text, and LLaMA-Factory "
        "begins each of its three texts with a space. A warm start reads the records again, to see "
        "that they are the same, and does not load the tokenizer.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Time from JSON to rows, and the peers'.")
    parser.add_argument("--records", type=int, default=52_002)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/prepare.md")
    options = parser.parse_args()
    if "LLAMA_GPT4_REAL_DATA" not in os.environ:
        sys.exit("LLAMA_GPT4_REAL_DATA names no folder: it has to hold real records")
    real, load = Path(os.environ["LLAMA_GPT4_REAL_DATA"]), f"{os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory() as name:
        folder, files = Path(name), {}
        for language, unit in (("en", " "), ("zh", "")):
            records = json.loads((real / f"alpaca_gpt4_{language}.json").read_text("utf-8"))
            made = grown(records, options.records, unit)
            files[language] = folder / f"{language}.json"
            files[language].write_text(json.dumps(made, ensure_ascii=False), "utf-8")
            words = {word for record in made for text in record.values() for word in text.split()}
            print(f"{len(made):,} {language} records with {len(words):,} different words")
        tokenizer = Tokenizer.load(real / "llama_tokenizer")
        tokenizer.save(folder / "tokenizer", chat_template=CHAT_TEMPLATE, max_tokens=ROW_TOKENS)
        results = measure(Bench(folder, files), options.repeats)
    text = report(results, options.records, load)
    write_report(options.results, text)
    rows = [
        {"side": side, "records": language, "processes": n} | run
        for (side, language, n), runs in results.items()
        for run in runs
    ]
    write_rows(options.results.with_suffix(".csv"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
