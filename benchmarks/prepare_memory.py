"""The memory that preparing takes, at files of several sizes: it must not grow with the texts.

    python benchmarks/prepare_memory.py --gigabytes 0.5 1 2

Each file is JSONL of the real English records, grown with altered text, under numbers that keep
them apart. What is measured is the whole of `llama-gpt4 prepare`, packing and picture included: the
anonymous memory of its processes (`Pss_Anon`, in which each has its share of what is common),
summed ten times a second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import ROOT, facts, write_report, write_rows
from prepare import grown

from llama_gpt4.prompt import CHAT_TEMPLATE
from llama_gpt4.tokenizer import Tokenizer

BASE_RECORDS = 52_002
ROW_TOKENS = 2048
SAMPLE_SECONDS = 0.1


def write_records(path: Path, records: list[dict[str, str]], n_bytes: int) -> int:
    """At least `n_bytes` of `records`, again and again, no two alike; how many they are."""
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    start = '{"instruction": "'
    assert all(line.startswith(start) for line in lines)
    n = 0
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < n_bytes:
            copy = n // len(lines)
            file.writelines(f"{start}{copy}. {line[len(start) :]}\n" for line in lines)
            n += len(lines)
    return n


def measured(records: Path, folder: Path) -> dict[str, Any]:
    """What a run of `llama-gpt4 prepare` took, at most and in all."""
    keep = [f"data.policy.{rule}=keep" for rule in ("duplicate", "same_prompt", "cut_start")]
    arguments = [
        f"data.files=[{records}]",
        f"tokenizer.path={folder / 'tokenizer'}",
        f"data.cache_dir={folder / 'cache'}",
        f"run_dir={folder / 'run'}",
        f"data.row_tokens={ROW_TOKENS}",
        *keep,
    ]
    start = time.perf_counter()
    with open(folder / "out", "w") as out:
        command = [sys.executable, "-m", "llama_gpt4.prepare", *arguments]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        peak, processes = 0, 0
        while process.poll() is None:
            pids = family(process.pid)
            peak, processes = max(peak, sum(map(own_bytes, pids))), max(processes, len(pids))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        sys.exit((folder / "out").read_text())
    seconds = time.perf_counter() - start
    audit = json.loads((folder / "run" / "audit.json").read_text())["train"]
    return {
        "input_bytes": records.stat().st_size,
        "records": audit["read"],
        "used": audit["used"],
        "tokens": audit["tokens"],
        "processes": processes,
        "peak_bytes": peak,
        "seconds": seconds,
    }


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in below for each in family(int(child)))]


def own_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))


def report(runs: list[dict[str, Any]], load: str) -> str:
    lines = [
        "# The memory of preparing",
        "",
        f"{facts('tokenizers', 'numpy')}; load average before {load}. JSONL of English records, "
        f"LLaMA's 32,000 pieces, rows of {ROW_TOKENS:,} tokens; `llama-gpt4 prepare` as a whole, "
        "anonymous memory of all its processes together (mapped files can be given up). "
        "Made by `python benchmarks/prepare_memory.py`.",
        "",
        "| input, GB | records | tokens | processes | peak, MB | seconds | records a second |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        lines.append(
            f"| {run['input_bytes'] / 1e9:.2f} | {run['records']:,} | {run['tokens']:,} "
            f"| {run['processes']} | {run['peak_bytes'] / 1e6:,.0f} | {run['seconds']:.0f} "
            f"| {run['records'] / run['seconds']:,.0f} |"
        )
    if len(runs) > 1:
        small, large = runs[0], runs[-1]
        growth = (large["peak_bytes"] - small["peak_bytes"]) / (large["records"] - small["records"])
        lines += ["", f"From the smallest to the largest: {growth:.0f} bytes a record."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory from JSONL to prepared data.")
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.25, 0.5, 1, 2])
    parser.add_argument("--folder", type=Path, help="where the files go for the time being")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks/results/prepare_memory.md"
    )
    options = parser.parse_args()
    if "LLAMA_GPT4_REAL_DATA" not in os.environ:
        sys.exit("LLAMA_GPT4_REAL_DATA names no folder: it has to hold real records")
    real, load = Path(os.environ["LLAMA_GPT4_REAL_DATA"]), f"{os.getloadavg()[0]:.1f}"
    made = grown(json.loads((real / "alpaca_gpt4_en.json").read_text("utf-8")), BASE_RECORDS, " ")
    runs = []
    for gigabytes in options.gigabytes:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            write_records(folder / "records.jsonl", made, int(gigabytes * 1e9))
            tokenizer = Tokenizer.load(real / "llama_tokenizer")
            tokenizer.save(folder / "tokenizer", chat_template=CHAT_TEMPLATE, max_tokens=ROW_TOKENS)
            runs.append(measured(folder / "records.jsonl", folder))
            print(runs[-1], flush=True)
    write_report(options.results, report(runs, load))
    write_rows(options.results.with_suffix(".csv"), runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
