"""A local model as the teacher: its answers become data, the data a student, the student answers.

The teacher is a server of a library's own, which knows nothing of us; its answers are nonsense.
"""

import json
from pathlib import Path

import pytest

from llama_gpt4.records import read_records

from ..command import llama_gpt4, train
from ..data_gen.conftest import local_teacher as local_teacher  # the fixture
from ..data_gen.local_teacher import LocalTeacher

pytestmark = pytest.mark.e2e

ASKED = 6


def test_a_student_learns_from_a_local_teacher(local_teacher: LocalTeacher, tmp_path: Path) -> None:
    data, answers = tmp_path / "data", tmp_path / "answers.jsonl"
    line = [
        "data",
        "answer",
        "endpoint@teacher=local",
        f"teacher.base_url={local_teacher.base_url}",
        f"teacher.model={local_teacher.model}",
        "teacher.licence=apache-2.0",
        "teacher.parameters.max_tokens=8",
        "teacher.parameters.temperature=0.0",
        "teacher.in_flight=4",
        "files=[sample:en]",
        f"limit={ASKED}",
        f"run.output_dir={data}",
        f"run.journal_dir={tmp_path / 'journal'}",
    ]
    done = llama_gpt4(*line)
    assert done.returncode == 0, done.stderr
    assert f"{ASKED} items: {ASKED} records, 0 failed" in done.stdout
    made = read_records(str(data / "data.json"))
    asked = read_records("sample:en")[:ASKED]
    assert [record.instruction for record in made] == [record.instruction for record in asked]
    assert all(record.output.strip() for record in made)

    # The same line again finds all of it: nothing is asked, and the same data come out.
    before = (data / "data.json").read_bytes()
    assert llama_gpt4(*line, "teacher.in_flight=2").returncode == 0
    assert (data / "data.json").read_bytes() == before

    run_dir = tmp_path / "run"
    files = f"data.files=[{data / 'data.json'},sample:en]"
    steps = train(run_dir, files, "train.steps=2", processes=1)
    assert len(steps) == 2

    done = llama_gpt4(
        "answer",
        f"model={run_dir / 'model'}",
        f"questions={data / 'data.jsonl'}",
        f"output={answers}",
        "decoding.max_new_tokens=4",
    )
    assert done.returncode == 0, done.stderr
    given = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(given) == ASKED
