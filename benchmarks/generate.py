"""Asking a teacher thousands of questions: us, naive AsyncOpenAI and curator, in turns.

    python benchmarks/generate.py [--curator-python /path/to/venv/bin/python]

One server on loopback answers after 200 ms, with and without faults: 5 % of attempts meet 429, 2 %
meet 500, 1 % a dropped connection, 0.2 % no answer at all until the client gives up after 5 s. Each
run is a new process that gets the same questions and has to leave each with its answer in a file;
clock, CPU seconds and memory are read from outside, requests and answers by the server.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # the server is that of the tests

from machine import commit, processor, versions, write_rows  # noqa: E402
from measured_client import watch  # noqa: E402

from llama_gpt4.prompt import render_prompt  # noqa: E402
from llama_gpt4.records import read_records  # noqa: E402
from tests.data_gen.teacher import Teacher, running_teacher  # noqa: E402
from tests.data_gen.teacher_answers import answer  # noqa: E402

LIBRARIES = ("openai", "httpx2", "aiohttp", "bespokelabs-curator")
LATENCY_SECONDS = 0.2
TIMEOUT_SECONDS = 5
LIMIT_SECONDS = 600
CONDITIONS: dict[str, dict[str, float]] = {
    "no faults": {},
    "faults": {"429-bare": 0.05, "500": 0.02, "drop": 0.01, "hang": 0.002},
}

LESSON = """At 256 in flight and 200 ms nobody can do more than 1,280 requests a second. With faults
the last requests to hang decide: two time-outs in a row of one request are 10 s."""


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    name: str
    in_flight: int
    script: str | None = None
    """Of a peer; None is us."""
    workers: int = 1


SIDES = (
    Side("ours", 256),
    Side("curator", 256, "peer_curator.py"),
    Side("AsyncOpenAI", 256, "peer_openai.py"),
)
MORE_IN_FLIGHT = (
    Side("ours, 1,024 in flight, 2 workers", 1024, workers=2),
    Side("curator, 1,024 in flight", 1024, "peer_curator.py"),
    Side("AsyncOpenAI, 1,024 in flight", 1024, "peer_openai.py"),
)
CONTESTS = [
    *(("no faults", side) for side in (*SIDES, *MORE_IN_FLIGHT)),
    *(("faults", side) for side in SIDES),
]


@dataclass(frozen=True)
class Measured:
    """One run of one side."""

    condition: str
    side: str
    in_flight: int
    requests: int
    """Questions, each to be answered once."""
    seconds: float
    """From the first connection to the end of the last request, by the server."""
    total_seconds: float
    """From the start of the program to its end."""
    cpu_seconds: float
    """In `seconds`, of all the client's processes."""
    total_cpu_seconds: float
    peak_bytes: int
    attempts: int
    lost: int
    """Questions without their right answer in the output."""
    duplicates: int
    """Answers in the output beyond one for each question."""
    paid_twice: int
    """Answers that the server gave beyond one for each question."""
    load: float
    """One-minute load average before the run."""

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds


def main() -> int:
    arguments = _arguments()
    runs = []
    with tempfile.TemporaryDirectory() as name, running_teacher() as teacher:
        folder = Path(name)
        write_questions(folder, arguments.requests)
        for repeat in range(arguments.repeats):
            for condition, side in CONTESTS:
                if arguments.only in f"{condition}: {side.name}":
                    run = run_side(side, condition, teacher, folder, arguments)
                    print(f"{repeat + 1}: {run}", flush=True)
                    runs.append(run)
    table = "\n".join(table_lines(runs))
    print(table)
    if not arguments.only:
        store(runs, table, arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curator-python", default=sys.executable, help="one that has curator")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--only", default="", help="runs with this in their name; stores nothing")
    return parser.parse_args()


def write_questions(folder: Path, n: int) -> None:
    """Different ones from the sample records: as records for us, as whole prompts for the peers."""
    samples = [*read_records("sample:en"), *read_records("sample:zh")]
    records = [
        {"instruction": f"{samples[i % len(samples)].instruction} ({i})", "input": ""}
        for i in range(n)
    ]
    prompts = [render_prompt(record["instruction"], "") for record in records]
    (folder / "records.json").write_text(json.dumps(records, ensure_ascii=False))
    (folder / "prompts.json").write_text(json.dumps(prompts, ensure_ascii=False))


def run_side(
    side: Side, condition: str, teacher: Teacher, folder: Path, arguments: argparse.Namespace
) -> Measured:
    """One run, in a new folder, of a server that has forgotten all others."""
    teacher.behaves(latency_seconds=LATENCY_SECONDS, faults=CONDITIONS[condition])
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    if side.script is None:
        command = our_command(side, teacher, folder, run_dir)
    else:
        is_curator = side.script == "peer_curator.py"
        python = arguments.curator_python if is_curator else sys.executable
        command = peer_command(side, python, teacher, folder, run_dir)
    environment = {**os.environ, "OPENAI_API_KEY": "sk-benchmark"}
    load = os.getloadavg()[0]
    watched = watch(command, environment, run_dir / "log", LIMIT_SECONDS)
    stats = teacher.stats()
    answers = written_answers(side, run_dir)
    prompts = json.loads((folder / "prompts.json").read_bytes())
    right = {index for index, text in answers if text == answer(prompts[index])}
    return Measured(
        condition=condition,
        side=side.name,
        in_flight=side.in_flight,
        requests=len(prompts),
        seconds=stats.seconds,
        total_seconds=watched.seconds,
        cpu_seconds=watched.cpu_between(stats.began_at, stats.began_at + stats.seconds),
        total_cpu_seconds=watched.cpu_seconds,
        peak_bytes=watched.peak_bytes,
        attempts=stats.requests,
        lost=len(prompts) - len(right),
        duplicates=len(answers) - len({index for index, _ in answers}),
        paid_twice=stats.paid_twice,
        load=load,
    )


def our_command(side: Side, teacher: Teacher, folder: Path, run_dir: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "llama_gpt4_launch.cli", "data", "answer"),
        f"files=[{folder / 'records.json'}]",
        f"run.output_dir={run_dir / 'output'}",
        f"run.journal_dir={run_dir / 'journal'}",
        f"run.workers={side.workers}",
        f"teacher.base_url={teacher.base_url}",
        f"teacher.in_flight={side.in_flight}",
        f"teacher.timeout_seconds={TIMEOUT_SECONDS}",
    ]


def peer_command(
    side: Side, python: str, teacher: Teacher, folder: Path, run_dir: Path
) -> list[str]:
    options = {
        "--base-url": teacher.base_url,
        "--prompts": folder / "prompts.json",
        "--output": run_dir / "answers.jsonl",
        "--in-flight": side.in_flight,
        "--timeout-seconds": TIMEOUT_SECONDS,
    }
    assert side.script
    return [python, str(HERE / side.script), *(str(p) for pair in options.items() for p in pair)]


def written_answers(side: Side, run_dir: Path) -> list[tuple[int, str]]:
    """Place of each question that has an answer in the output, and the answer."""
    if side.script:
        lines = (run_dir / "answers.jsonl").read_text().splitlines()
        return [(line["index"], line["answer"]) for line in map(json.loads, lines)]
    lines = (run_dir / "output" / "data.jsonl").read_text().splitlines()
    return [
        (line["provenance"]["derived_from"]["index"], line["output"])
        for line in map(json.loads, lines)
    ]


def table_lines(runs: list[Measured]) -> Iterator[str]:
    """Medians over the repeats; ratios are medians of the ratios within a repeat."""
    yield (
        "| | requests/s | ours / this | CPU ms a request | with start and output | peak MiB "
        "| seconds from start to end | attempts | lost | duplicate | paid twice |"
    )
    yield "|---" * 11 + "|"
    for condition, side in dict.fromkeys((run.condition, run.side) for run in runs):
        theirs = [run for run in runs if (run.condition, run.side) == (condition, side)]
        rival = next(
            s.name for c, s in CONTESTS if c == condition and s.in_flight == theirs[0].in_flight
        )
        ours = [run for run in runs if (run.condition, run.side) == (condition, rival)]
        ratios = [a.requests_per_second / b.requests_per_second for a, b in zip(ours, theirs)]  # noqa: B905
        speeds = [run.requests_per_second for run in theirs]
        cells = [
            f"{median(speeds):,.0f} ({min(speeds):,.0f}–{max(speeds):,.0f})",
            f"{median(ratios):.2f}" if ratios else "",
            f"{median(1000 * run.cpu_seconds / run.requests for run in theirs):.2f}",
            f"{median(1000 * run.total_cpu_seconds / run.requests for run in theirs):.2f}",
            f"{median(run.peak_bytes for run in theirs) / 2**20:.0f}",
            f"{median(run.total_seconds for run in theirs):.1f}",
            f"{median(run.attempts for run in theirs):,.0f}",
            *(
                f"{sum(getattr(r, q) for r in theirs)}"
                for q in ("lost", "duplicates", "paid_twice")
            ),
        ]
        yield f"| {condition}: {side} | " + " | ".join(cells) + " |"


def store(runs: list[Measured], table: str, arguments: argparse.Namespace) -> None:
    """Every run to results/generate.csv; the table, and what it is of, to .md."""
    folder = HERE / "results"
    write_rows(folder / "generate.csv", [asdict(run) for run in runs])
    loads = [run.load for run in runs]
    text = f"""# Asking a teacher: us, AsyncOpenAI and curator

Written by `python benchmarks/generate.py` on {date.today()}, commit {commit()}.
{processor()}, {os.cpu_count()} cores, which the clients share with the server (0.06 ms CPU a
request). Ours and AsyncOpenAI: {versions(sys.executable, *LIBRARIES)}.
Curator: {versions(arguments.curator_python, *LIBRARIES)}.
{arguments.requests:,} questions, answers after {1000 * LATENCY_SECONDS:.0f} ms, 256 in flight
unless a line says otherwise; {arguments.repeats} interleaved repeats, medians (smallest–largest);
lost, duplicate and paid twice are summed over the repeats. Others kept the machine at load
averages of {min(loads):.1f} to {max(loads):.1f}: where these exceed {os.cpu_count()}, the CPU
seconds say more than the clock. With faults, 5 % of attempts meet 429 without Retry-After, 2 % meet
500, 1 % a dropped connection, 0.2 % no answer; clients give up after {TIMEOUT_SECONDS} s.

{table}

{LESSON}
"""
    (folder / "generate.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
