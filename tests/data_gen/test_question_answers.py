"""`llama-gpt4 answer engine=endpoint` against the fault server: one line an answer, nothing paid
twice, and a file that the judge takes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data import cli
from llama_gpt4_data.generate import FORK

from llama_gpt4 import answer
from llama_gpt4.prompt import render_prompt
from llama_gpt4.questions import hashed_id

from ..llama_gpt4.test_generation import trained_folder
from .answering import KEY
from .judging import Judging, read_lines
from .teacher import Teacher
from .teacher_answers import answer as taught
from .test_interruptions import n_answered, wait_for

VICUNA = {"question_id": 7, "text": "How do I sleep better?", "category": "generic"}
LATER = {"question_id": 8, "turns": ["Why is the sky blue?"], "category": "knowledge"}
USER_ORIENTED = {
    "id": "user_oriented_task_3",
    "instruction": "Fix it.",
    "instances": [{"input": "He go.", "output": "He goes."}],
}
UNNATURAL = {
    "instruction": "Name the animal.",
    "instances": [{"input": "Moo.", "output": ""}, {"input": "Miaow.", "output": ""}],
}
ALPACA = {"instruction": "法国的首都是哪里？", "input": "", "output": "巴黎"}
ALL_KINDS = [VICUNA, LATER, USER_ORIENTED, UNNATURAL, ALPACA]


class Asking:
    """Runs in a folder of their own, all on one folder of replies."""

    def __init__(self, teacher: Teacher, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.teacher, self.folder, self._capture = teacher, folder, capture

    def arguments(self, questions: list[Any], *overrides: str) -> list[str]:
        file = self.folder / "questions.jsonl"
        lines = [json.dumps(question, ensure_ascii=False) + "\n" for question in questions]
        file.write_text("".join(lines), encoding="utf-8")
        return [
            f"questions={file}",
            f"run.output_dir={self.folder / 'chatgpt'}",
            f"run.journal_dir={self.folder / 'journal'}",
            f"endpoint.base_url={self.teacher.base_url}",
            "endpoint.in_flight=8",
            *overrides,
        ]

    def __call__(self, questions: list[Any], *overrides: str) -> int:
        return answer.main(["engine=endpoint", *self.arguments(questions, *overrides)])

    def complaint(self) -> str:
        said = self._capture.readouterr().err.splitlines()
        [line] = [line for line in said if line.startswith("llama-gpt4 ")]
        return line

    @property
    def answers(self) -> list[dict[str, Any]]:
        return read_lines(self.folder / "chatgpt" / "answers.jsonl")

    @property
    def failed(self) -> list[dict[str, Any]]:
        return read_lines(self.folder / "chatgpt" / "failed.jsonl")


@pytest.fixture
def asking(
    teacher: Teacher,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Asking:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return Asking(teacher, tmp_path, capfd)


def test_every_kind_of_question_is_answered_in_a_line(
    asking: Asking, capfd: pytest.CaptureFixture[str]
) -> None:
    assert asking(ALL_KINDS, "endpoint=chatgpt", "decoding=fastchat", "samples=2") == 0
    lines = asking.answers
    asked = {
        "7": ("How do I sleep better?", ""),
        "8": ("Why is the sky blue?", ""),
        "user_oriented_task_3": ("Fix it.", "He go."),
        hashed_id("Name the animal.", "Moo."): ("Name the animal.", "Moo."),
        hashed_id("Name the animal.", "Miaow."): ("Name the animal.", "Miaow."),
        hashed_id("法国的首都是哪里？", ""): ("法国的首都是哪里？", ""),
    }
    assert [(str(line["question_id"]), line["sample"]) for line in lines] == [
        (id, sample) for id in asked for sample in (0, 1)
    ]
    for line in lines:
        instruction, input = asked[str(line["question_id"])]
        plain = f"{instruction}\n\n{input}" if input else instruction
        assert line["question"] == (f"{instruction}\n{input}" if input else instruction)
        assert line.get("input", "") == input
        assert line["answer"] == taught(plain)
        assert line["decoding"] == {"temperature": 0.7, "top_p": 1.0, "max_tokens": 1024}
        assert line["model"].startswith("gpt-3.5-turbo") and line["finish_reason"] == "stop"
        assert line["endpoint"] == asking.teacher.base_url
    out = capfd.readouterr().out
    assert "12 items: 12 answers, 0 failed, 0 not asked yet" in out
    assert out.endswith(f"{asking.folder}/chatgpt/answers.jsonl, failed.jsonl\n")
    text = "".join(path.read_text() for path in asking.folder.rglob("*") if path.is_file())
    assert KEY not in text

    before = asking.teacher.stats().requests
    assert asking(ALL_KINDS, "endpoint=chatgpt", "decoding=fastchat", "samples=3") == 0
    assert len(asking.answers) == 18, "more samples are added"
    assert asking.teacher.stats().requests == before + 6, "what is there is not asked again"


def test_the_prompt_of_the_papers_models_and_a_system_message(asking: Asking) -> None:
    assert asking([USER_ORIENTED], "frame=alpaca", "system=Be brief.") == 0
    assert asking.answers[0]["answer"] == taught(render_prompt("Fix it.", "He go."))
    assert asking.answers[0]["decoding"]["temperature"] == 0.0


def test_faults_pass_and_what_never_succeeds_is_said(asking: Asking) -> None:
    kinds = ("429", "500", "drop", "half", "malformed")
    asking.teacher.behaves(faults={kind: 0.05 for kind in kinds}, seed=2)
    questions = [{"question_id": n, "text": f"Question {n}?"} for n in range(60)]
    bad = [
        {"question_id": 60, "text": "Too much? [[fault:400-context]]"},
        {"question_id": 61, "text": "Cut? [[tokens:900]]"},
        {"question_id": 62, "text": "Nothing? [[fault:empty*9]]"},
    ]
    assert asking([*questions, *bad]) == 0
    lines = {line["question_id"]: line for line in asking.answers}
    assert [lines[n]["answer"] for n in range(60)] == [taught(q["text"]) for q in questions]
    assert lines[61]["finish_reason"] == "length"
    assert lines[62]["answer"] == "", "models do say nothing: it is an answer"
    [failed] = asking.failed
    assert (failed["question_id"], failed["sample"]) == (60, 0)
    assert failed["failure"].startswith("400: ")
    assert asking.teacher.stats().paid_twice == 0
    report = json.loads((asking.folder / "chatgpt" / "report.json").read_bytes())
    assert (report["items"], report["records"], report["failed"], report["open"]) == (63, 62, 1, 0)
    assert report["findings"] == {"truncated": 1}


def test_a_killed_run_goes_on_where_it_stopped(asking: Asking) -> None:
    asking.teacher.behaves(latency_seconds=0.05)
    questions = [{"question_id": n, "text": f"Question {n}?"} for n in range(80)]
    arguments = asking.arguments(questions)
    process = FORK.Process(target=_run, args=(["engine=endpoint", *arguments],))
    process.start()
    wait_for(lambda: n_answered(asking.teacher) > 20, seconds=60)
    assert process.pid and process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    wait_for(lambda: asking.teacher.stats().concurrent == 0, seconds=60)
    assert not (asking.folder / "chatgpt" / "answers.jsonl").exists(), "no half-written file"
    assert asking(questions) == 0
    assert [line["answer"] for line in asking.answers] == [taught(q["text"]) for q in questions]
    assert asking.teacher.stats().sent_again <= 8, "only what was in flight"


def test_a_stopped_run_keeps_what_came(asking: Asking) -> None:
    asking.teacher.behaves(latency_seconds=0.05)
    questions = [{"question_id": n, "text": f"Question {n}?"} for n in range(200)]
    arguments = asking.arguments(questions)
    process = FORK.Process(target=_run, args=(["engine=endpoint", *arguments],))
    process.start()
    wait_for(lambda: n_answered(asking.teacher) > 8, seconds=60)
    assert process.pid
    os.killpg(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 75
    n_came = len(asking.answers)
    assert 8 < n_came < 200
    asking.teacher.behaves()
    assert asking(questions) == 0 and len(asking.answers) == 200
    assert asking.teacher.stats().requests == 200 - n_came


def test_a_wrong_key_leaves_the_answers_that_are_there(asking: Asking) -> None:
    assert asking([VICUNA]) == 0
    before = asking.answers
    asking.teacher.behaves(faults={"401": 1.0})
    assert asking([VICUNA], "model=gpt-5") == 2
    assert "gpt-5" in asking.complaint() and asking.answers == before


def test_the_judge_compares_it_with_models_of_ours(
    asking: Asking, judging: Judging, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two models of ours in one line, one behind an address: the judge takes all three files."""
    assert asking(ALL_KINDS, "endpoint=chatgpt") == 0
    models = [asking.folder / "runs" / name / "model" for name in ("a", "b")]
    for model in models:
        model.parent.mkdir(parents=True)
        model.symlink_to(trained_folder(tmp_path_factory.getbasetemp()))
    questions = f"questions={asking.folder}/questions.jsonl"
    ours = [f"model=[{models[0]},{models[1]}]", questions, f"output={asking.folder}/ours"]
    drawn = ["decoding=paper", "decoding.temperature=9", "decoding.max_new_tokens=8"]
    assert answer.main([*ours, *drawn]) == 0
    files = {name: asking.folder / "ours" / f"{name}.jsonl" for name in ("a", "b")}
    files["chatgpt"] = asking.folder / "chatgpt" / "answers.jsonl"
    named = ", ".join(f"{name}: {file}" for name, file in files.items())
    judged = judging(questions, f"answers={{{named}}}", "opponent=chatgpt")
    assert judged.code == 0, judged.err
    assert len(judged.lines) == 2 * 2 * 6, "two pairs, six questions, both orders"
    assert {tuple(line["models"]) for line in judged.lines} == {("a", "chatgpt"), ("b", "chatgpt")}


def test_what_it_would_cost(asking: Asking, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = asking.arguments(ALL_KINDS, "endpoint=chatgpt", "decoding=paper", "samples=3")
    assert cli.main(["estimate", "questions", *arguments]) == 0
    out = capfd.readouterr().out
    assert "gpt-3.5-turbo" in out and "18 to send" in out
    assert asking.teacher.stats().requests == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("samples=2", "samples=2 would all be the same at decoding.temperature=0"),
        ("samples=0", "samples=0 must be positive"),
        ("model=[a,b]", "endpoint.model=[a,b]: one model is asked here"),
        ("limit=0", "limit=0 must be positive"),
        ("frame=vicuna", "frame=vicuna is not one of"),
        ("output=a.jsonl", "output is not a key of this program; did you mean run.output_dir?"),
        ("questions=nowhere.jsonl", "questions=nowhere.jsonl does not exist"),
        ("endpoint=nobody", "endpoint=nobody does not exist: there are"),
        ("endpoint.parameters.n=3", "parameters.n is set by the program"),
        ("run.budget_usd=1", "run.budget_usd=1 cannot be kept"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_sent(
    asking: Asking, override: str, message: str
) -> None:
    assert asking([VICUNA], "model=mine", override) == 2
    assert message in asking.complaint()
    assert asking.teacher.stats().requests == 0


def _run(arguments: list[str]) -> None:
    os.setpgid(0, 0)
    os._exit(answer.main(arguments))
