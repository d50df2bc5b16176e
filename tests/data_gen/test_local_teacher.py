"""A real model as the teacher, and a model that learns from it: generate, fine-tune, answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data import cli

from ..command import llama_gpt4, train
from .local_teacher import LocalTeacher

pytestmark = pytest.mark.e2e


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_model_learns_from_what_a_local_teacher_says(
    local_teacher: LocalTeacher, tmp_path: Path
) -> None:
    arguments = [
        "answer",
        "endpoint@teacher=local",
        "files=[sample:en,sample:zh]",
        "limit=6",
        f"run.output_dir={tmp_path}/taught",
        f"run.journal_dir={tmp_path}/replies",
        f"teacher.base_url={local_teacher.base_url}",
        f"teacher.model={local_teacher.model}",
        "teacher.parameters={temperature: 0, max_tokens: 12}",
        "teacher.in_flight=2",
        "teacher.licence=apache-2.0",
        *(f"policy.{finding}=keep" for finding in ("refusal", "wrong_language", "leakage")),
    ]
    assert cli.main(arguments) == 0
    records = lines(tmp_path / "taught" / "data.jsonl")
    assert len(records) == 6 and all(record["output"].strip() for record in records)
    for record in records:
        assert local_teacher.model in record["provenance"]["model"]
        assert record["provenance"]["completion_tokens"] == 12
        assert record["provenance"]["finish_reason"] == "length"

    data = tmp_path / "taught" / "data.json"
    train(
        tmp_path / "run",
        f"data.files=[{data}]",
        f"data.cache_dir={tmp_path}/cache",
        "train.epochs=2",
        processes=1,
    )
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps(json.loads(data.read_bytes())[:2], ensure_ascii=False))
    output = tmp_path / "answers.jsonl"
    done = llama_gpt4(
        "answer", f"model={tmp_path}/run/model", f"questions={questions}", f"output={output}"
    )
    assert done.returncode == 0, done.stderr
    assert len(lines(output)) == 2
