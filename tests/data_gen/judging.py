"""Judgements for tests: their files, their configuration, and whole evaluations."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.findings import ScorePolicies
from llama_gpt4_data.judge_config import JudgeConfig
from llama_gpt4_data.judge_records import Judgement

from llama_gpt4 import evaluate

from .endpoints import endpoint_config, prices_config, run_config
from .teacher import Teacher


def judge_config(**values: Any) -> JudgeConfig:
    given: dict[str, Any] = {
        "questions": "q.jsonl",
        "answers": {"a": "a.jsonl", "b": "b.jsonl"},
        "opponent": None,
        "reviews": [],
        "missing": "error",
        "limit": None,
        "repeats": 1,
        "ranking": [],
        "policy": ScorePolicies(unreadable="retry", out_of_range="keep"),
        "run": run_config(),
        "judge": endpoint_config(parameters={"temperature": 0.2, "max_tokens": 1024}),
        "prices": prices_config(),
    }
    return JudgeConfig(**(given | values))


def judgement(
    question_id: str, order: str, scores: tuple[float, float] | None, **values: Any
) -> Judgement:
    """Of the models that are called by the letters of `order`, such as "ba"."""
    first, second = order[0], order[1]
    a, b = sorted(order)
    given: dict[str, Any] = {
        "category": "general",
        "models": (a, b),
        "repeat": 0,
        "lengths": None,
        "source": {"judge": "gpt-4"},
    }
    return Judgement(
        question_id=question_id, order=(first, second), scores=scores, **(given | values)
    )


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> str:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return str(path)


def write_questions(path: Path, texts: Iterable[str], category: str = "generic") -> str:
    return write_lines(
        path,
        (
            {"question_id": n, "text": text, "category": category}
            for n, text in enumerate(texts, start=1)
        ),
    )


def write_answers(path: Path, texts: Iterable[str]) -> str:
    """In FastChat's layout."""
    return write_lines(
        path,
        ({"question_id": n, "text": text, "model_id": "m"} for n, text in enumerate(texts, 1)),
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Judged:
    """How one evaluation ended."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.folder / "judge.json").read_text())
        return result

    @property
    def lines(self) -> list[dict[str, Any]]:
        return read_lines(self.folder / "judgements.jsonl")

    @property
    def complaint(self) -> str:
        """The one line that says why it stopped."""
        [line] = [line for line in self.err.splitlines() if line.startswith("llama-gpt4 ")]
        return line


class Judging:
    """Evaluations by the fault server that share a folder of replies."""

    def __init__(self, teacher: Teacher, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.teacher, self.folder, self._capture = teacher, folder, capture

    def __call__(self, *overrides: str) -> Judged:
        self._capture.readouterr()
        code = evaluate.main(
            [
                "metric=judge",
                f"run.output_dir={self.folder / 'judged'}",
                f"run.journal_dir={self.folder / 'journal'}",
                f"judge.base_url={self.teacher.base_url}",
                *overrides,
            ]
        )
        out, err = self._capture.readouterr()
        return Judged(code, out, err, self.folder / "judged")

    def answers(self, **texts: Iterable[str]) -> str:
        """The argument for models that answer the questions in order."""
        files = [f"{m}: {write_answers(self.folder / f'{m}.jsonl', t)}" for m, t in texts.items()]
        return f"answers={{{', '.join(files)}}}"

    def questions(self, *texts: str, category: str = "generic") -> str:
        path = self.folder / "questions.jsonl"
        return f"questions={write_questions(path, texts, category)}"
