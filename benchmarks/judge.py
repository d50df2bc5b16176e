"""What judging adds to a request: `evaluate metric=judge` and the bare client, in turns.

    python benchmarks/judge.py

One server on loopback answers after 200 ms. The client's run sends the judge's own prompts by
`data answer`, which reads, sends and keeps them and does nothing else; the judge's pairs, orders
and scores, and the statistics in the end, come on top. Each run is a new process; clock and CPU
seconds are read from outside, requests by the server.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # the server is that of the tests

from llama_gpt4_data.judge_prompts import judging_messages  # noqa: E402
from machine import commit, processor, write_rows  # noqa: E402
from measured_client import watch  # noqa: E402

from tests.data_gen.judging import write_answers, write_questions  # noqa: E402
from tests.data_gen.teacher import Teacher, running_teacher  # noqa: E402

LATENCY_SECONDS = 0.2
IN_FLIGHT = 256
LIMIT_SECONDS = 300
SIDES = ("client", "judge")


@dataclass(frozen=True)
class Measured:
    """One run of one side."""

    side: str
    requests: int
    seconds: float
    """From the first connection to the end of the last request, by the server."""
    total_seconds: float
    """From the start of the program to its end."""
    cpu_seconds: float
    """In `seconds`."""
    total_cpu_seconds: float
    load: float
    """One-minute load average before the run."""

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--requests", type=int, default=4000)
    arguments = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as name, running_teacher() as teacher:
        folder = Path(name)
        write_inputs(folder, arguments.requests // 2)
        for repeat in range(arguments.repeats):
            for side in SIDES:
                runs.append(run_side(side, teacher, folder))
                print(f"{repeat + 1}: {runs[-1]}", flush=True)
    table = "\n".join(table_lines(runs))
    print(table)
    store(runs, table, arguments.repeats)
    return 0


def write_inputs(folder: Path, n: int) -> None:
    """Questions and two models' answers, of the length of Vicuna's; and the prompts as records."""
    questions = [f"What is to be said about number {i}, and why?" for i in range(n)]
    answers = [[f"Answer {i} of model {m}. " + "So it is. " * 60 for i in range(n)] for m in "ab"]
    write_questions(folder / "questions.jsonl", questions)
    for model, texts in zip("ab", answers, strict=True):
        write_answers(folder / f"{model}.jsonl", texts)
    prompts = [
        judging_messages("general", question, *pair)[1]["content"]
        for question, first, second in zip(questions, *answers, strict=True)
        for pair in ((first, second), (second, first))
    ]
    records = [{"instruction": prompt, "input": ""} for prompt in prompts]
    (folder / "records.json").write_text(json.dumps(records))


def run_side(side: str, teacher: Teacher, folder: Path) -> Measured:
    """One run, in a new folder, of a server that has forgotten all others."""
    teacher.behaves(latency_seconds=LATENCY_SECONDS)
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    role, words = "judge", ["evaluate", "metric=judge", f"questions={folder / 'questions.jsonl'}"]
    words.append(f"answers={{a: {folder / 'a.jsonl'}, b: {folder / 'b.jsonl'}}}")
    if side == "client":
        role, words = "teacher", ["data", "answer", f"files=[{folder / 'records.json'}]"]
        words += ["frame=plain", "teacher.parameters={temperature: 0.2, max_tokens: 1024}"]
    command = [
        *(sys.executable, "-m", "llama_gpt4_launch.cli", *words),
        f"run.output_dir={run_dir / 'output'}",
        f"run.journal_dir={run_dir / 'journal'}",
        f"{role}.base_url={teacher.base_url}",
        f"{role}.in_flight={IN_FLIGHT}",
    ]
    load = os.getloadavg()[0]
    watched = watch(command, {**os.environ}, run_dir / "log", LIMIT_SECONDS)
    stats = teacher.stats()
    assert not stats.paid_twice
    return Measured(
        side=side,
        requests=stats.requests,
        seconds=stats.seconds,
        total_seconds=watched.seconds,
        cpu_seconds=watched.cpu_between(stats.began_at, stats.began_at + stats.seconds),
        total_cpu_seconds=watched.cpu_seconds,
        load=load,
    )


def table_lines(runs: list[Measured]) -> list[str]:
    """Medians over the repeats."""
    lines = [
        "| | requests | requests/s | CPU ms a request | with start and output "
        "| seconds from start to end |",
        "|---" * 6 + "|",
    ]
    for side in SIDES:
        own = [run for run in runs if run.side == side]
        speeds = [run.requests_per_second for run in own]
        cells = [
            f"{own[0].requests:,}",
            f"{median(speeds):,.0f} ({min(speeds):,.0f}–{max(speeds):,.0f})",
            f"{median(1000 * run.cpu_seconds / run.requests for run in own):.2f}",
            f"{median(1000 * run.total_cpu_seconds / run.requests for run in own):.2f}",
            f"{median(run.total_seconds for run in own):.1f}",
        ]
        lines.append(f"| {side} | " + " | ".join(cells) + " |")
    return lines


def store(runs: list[Measured], table: str, repeats: int) -> None:
    """Every run to results/judge.csv; the table, and what it is of, to .md."""
    write_rows(HERE / "results" / "judge.csv", [asdict(run) for run in runs])
    loads = [run.load for run in runs]
    (HERE / "results" / "judge.md").write_text(f"""# What judging adds to a request

Written by `python benchmarks/judge.py` on {date.today()}, commit {commit()}.
{processor()}, {os.cpu_count()} cores, which the program shares with the server. Answers after
{1000 * LATENCY_SECONDS:.0f} ms, {IN_FLIGHT} in flight; {repeats} interleaved repeats, medians
(smallest–largest). Others kept the machine at load averages of {min(loads):.1f} to
{max(loads):.1f}: where these exceed {os.cpu_count()}, the CPU seconds say more than the clock.
`client` sends the same prompts by `data answer`.

{table}
""")


if __name__ == "__main__":
    sys.exit(main())
