"""`llama-gpt4 data answer` against a server of these tests, and what it leaves behind."""

import json
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data import cli

from llama_gpt4.prompt import render_prompt

from .teacher import Teacher
from .teacher_answers import answer

KEY = "sk-this-key-must-not-be-seen"


def instructions(n: int, mark: str = "") -> list[dict[str, str]]:
    return [{"instruction": f"Question {i}?{mark}", "input": ""} for i in range(n)]


def taught(record: dict[str, Any]) -> str:
    """What the fault server answers to `record` in Alpaca's frame."""
    return answer(render_prompt(record["instruction"], record.get("input", "")))


@dataclass(frozen=True)
class Answered:
    """How one run ended."""

    code: int
    out: str
    err: str
    output_dir: Path

    @property
    def records(self) -> list[dict[str, Any]]:
        return _lines(self.output_dir / "data.jsonl")

    @property
    def failed(self) -> list[dict[str, Any]]:
        return _lines(self.output_dir / "failed.jsonl")

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.output_dir / "report.json").read_bytes())
        return report

    @property
    def complaint(self) -> str:
        """The one line that says why it stopped."""
        [line] = [line for line in self.err.splitlines() if line.startswith("llama-gpt4 ")]
        return line


class Answering:
    """Starts runs that share a folder of replies; each starts as the command line would."""

    def __init__(self, teacher: Teacher, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.teacher, self.folder, self._capture = teacher, folder, capture

    def arguments(self, records: Sequence[Any] | Path, *overrides: str) -> list[str]:
        """A command line but for the program; `records` may be in a file already."""
        path = records if isinstance(records, Path) else self.folder / "records.json"
        if not isinstance(records, Path):
            path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
        return [
            "answer",
            f"files=[{path}]",
            f"run.output_dir={self.folder / 'output'}",
            f"run.journal_dir={self.folder / 'replies'}",
            f"teacher.base_url={self.teacher.base_url}",
            "teacher.in_flight=16",
            *overrides,
        ]

    def __call__(self, records: Sequence[Any] | Path, *overrides: str) -> Answered:
        """A run in this process, whose own workers are processes as always."""
        arguments = self.arguments(records, *overrides)
        self._capture.readouterr()
        code = cli.main(arguments)
        out, err = self._capture.readouterr()
        folder = next(a for a in reversed(arguments) if a.startswith("run.output_dir="))
        return Answered(code, out, err, Path(folder.partition("=")[2]))

    def start(self, records: Sequence[Any] | Path, *overrides: str) -> ForkProcess:
        """A run in a process of its own that a test may kill; forked, so that it starts quickly."""
        arguments = self.arguments(records, *overrides)
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_run, args=(arguments,))
        process.start()
        return process


def _run(arguments: list[str]) -> None:
    os.setpgid(0, 0)
    os._exit(cli.main(arguments))


def _lines(path: Path) -> list[dict[str, Any]]:
    # Not `splitlines`: an answer may hold U+2028.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
