"""The program `rank`: what it writes, what it goes on with, what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from llama_gpt4_data.rank import main
from llama_gpt4_data.score import rewards

from llama_gpt4.answer_lines import LINE_KEYS
from llama_gpt4.errors import ExitCode
from llama_gpt4.prompt import render_prompt

from ..command import CLI, ENVIRONMENT
from .ranking import line, read_lines, write_answers, write_lines, write_reward_model


@pytest.fixture(scope="module")
def model(opt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reward_model(opt, tmp_path_factory.mktemp("reward") / "model")


def rank(model: Path, answers: Path, output_dir: Path, *more: str) -> int:
    given = [f"model={model}", f"answers={answers}", f"output_dir={output_dir}", "device=cpu"]
    return main([*given, *more])


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".jsonl"}


def test_groups_are_written_as_answers(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"question": "Sum up.\nOne, two", "input": "One, two"}
    lines = [line("s", k, text, **asked) for k, text in enumerate(["Three.", "Both.", "", "Two."])]
    lines += [line(9, k, f"Answer {k}.") for k in range(4)]
    answers = write_lines(tmp_path / "我的, answers.jsonl", *lines)
    output = tmp_path / "ranked"
    assert rank(model, answers, output) == ExitCode.DONE
    groups = {name: read_lines(output / f"{name}.jsonl") for name in ("R1", "R2", "R3", "R4", "B")}
    for name, group in groups.items():
        assert [each["question_id"] for each in group] == ["s", 9]
        assert all(each.keys() >= LINE_KEYS and each["model"] == f"runs/m {name}" for each in group)
    assert groups["R1"][0]["input"] == "One, two" and "input" not in groups["R1"][1]
    assert [each["answer"] for each in groups["B"]] == ["Three.", "Answer 0."]
    for n, (instruction, input) in enumerate([("Sum up.", "One, two"), ("Question 9?", "")]):
        own = [groups[f"R{k}"][n] for k in (1, 2, 3, 4)]
        prompts = [render_prompt(instruction, input)] * 4
        found = rewards(model, prompts, [each["answer"] for each in own])
        assert found == sorted(found, reverse=True)
        assert [each["reward"] for each in own] == pytest.approx(found, abs=1e-5)
    assert len(read_lines(output / "rewards.jsonl")) == 10
    report = json.loads((output / "report.json").read_text())
    assert report["config"]["answers"] == [str(answers)] and report["questions"] == 2
    assert (output / "best_of_n.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert said.startswith(f"2 questions, 4 answers each, by the rewards of {model}:\n")
    assert "R1 - B: " in said and "      4              0.636" in said


def test_a_file_of_ordinary_answers_is_the_baseline(model: Path, tmp_path: Path) -> None:
    answers = write_answers(tmp_path / "a.jsonl")
    ordinary = [line(q, 0, f"Plainly {q}.", model="other") for q in (3, 1, 0, 2)]
    baseline = write_lines(tmp_path / "b.jsonl", *ordinary)
    output = tmp_path / "ranked"
    assert rank(model, answers, output, f"baseline={baseline}") == ExitCode.DONE
    found = read_lines(output / "B.jsonl")
    assert [each["answer"] for each in found] == [f"Plainly {q}." for q in range(4)]
    assert {each["model"] for each in found} == {"other B"}


def test_groups_of_an_earlier_run_do_not_stay(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "ranked"
    assert rank(model, write_answers(tmp_path / "3.jsonl"), output) == ExitCode.DONE
    (output / "R1.txt").write_text("mine")
    fewer = write_answers(tmp_path / "2.jsonl", samples=2)
    assert rank(model, fewer, output, "baseline=null") == ExitCode.DONE
    assert {*written(output)} == {"R1.jsonl", "R2.jsonl", "rewards.jsonl", "journal.jsonl"}
    assert (output / "R1.txt").read_text() == "mine"


def test_answers_of_fastchat_are_ranked(model: Path, tmp_path: Path) -> None:
    questions = write_lines(tmp_path / "q.jsonl", {"question_id": 1, "text": "Why?"})
    files = [
        write_lines(
            tmp_path / f"{name}.jsonl",
            {"answer_id": "a", "question_id": 1, "model_id": name, "text": text, "metadata": {}},
        )
        for name, text in (("bard", "So."), ("gpt35", "It is so."))
    ]
    given = [f"model={model}", f"answers=[{files[0]},{files[1]}]", f"questions={questions}"]
    assert main([*given, f"output_dir={tmp_path}/ranked", "device=cpu"]) == ExitCode.DONE
    [best] = read_lines(tmp_path / "ranked" / "R1.jsonl")
    assert best["question"] == "Why?" and best["model"] == f"{best['ranked']['model']} R1"


BAD = {
    "no model": (["model=/none"], "model.path=/none does not exist"),
    "a run": (["model={tmp}/run"], "model.path={tmp}/run is a run directory: name {tmp}/run/model"),
    "language model": (["model={opt}"], "{opt} is no reward model: its architecture gives no sing"),
    "no answers": (["answers=none.jsonl"], "answers: none.jsonl does not exist; `llama-gpt4"),
    "none": (["answers=[]"], "answers is empty: name a file of answers"),
    "one each": (["answers={tmp}/1.jsonl"], "answers: one answer to each question leaves nothing"),
    "unequal": (
        ["answers=[{tmp}/3.jsonl,{tmp}/extra.jsonl]"],
        "answers: 3 of 4 questions have fewer than the 4 answers of the others: question_id 1 (3)",
    ),
    "baseline": (["baseline={tmp}/3.jsonl"], "3.jsonl has not one answer to each question: quest"),
    "no baseline": (["baseline=none.jsonl"], "baseline: none.jsonl does not exist"),
    "itself": (["output_dir={tmp}", "answers={tmp}/R1.jsonl"], "output_dir={tmp} is where {tmp}/R"),
    "processes": (["processes=0"], "processes=0 must be positive"),
    "device": (["device=tpu"], "device=tpu is not one of"),
    "key": (["baselines=1"], "baselines is not a key of this program; did you mean baseline?"),
    "too long": (["answers={tmp}/long.jsonl"], "long.jsonl: question 0, sample 1 has "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(
    name: str, model: Path, opt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    for n in (1, 3):
        write_answers(tmp_path / f"{n}.jsonl", samples=n)
    write_answers(tmp_path / "R1.jsonl")
    write_lines(tmp_path / "extra.jsonl", line(0, 0, "One more."))
    write_lines(tmp_path / "long.jsonl", line(0, 0, "a"), line(0, 1, "word " * 300))
    arguments, message = BAD[name]
    given = [f"model={model}", f"answers={tmp_path}/3.jsonl", f"output_dir={tmp_path}/ranked"]
    overrides = [word.format(tmp=tmp_path, opt=opt) for word in arguments]
    assert main([*given, *overrides]) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert message.format(tmp=tmp_path, opt=opt) in said
    assert said.count("\n") == 1 and said.startswith("llama-gpt4 rank: ")
    assert not (tmp_path / "ranked" / "R1.jsonl").exists()


def test_help_needs_no_torch() -> None:
    seen = (
        "import sys; from llama_gpt4_data.rank import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'matplotlib')))"
    )
    help = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True)
    assert help.returncode == 0, help.stderr
    assert "baseline: str | null" in help.stdout


def children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found |= {int(child) for child in task.read_text().split()}
    return found


def are_gone(pids: set[int], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while alive := {pid for pid in pids if is_running(pid)}:
        if time.monotonic() > end:
            return not alive
        time.sleep(0.05)
    return True


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.e2e
def test_a_killed_run_goes_on_and_processes_change_nothing(model: Path, tmp_path: Path) -> None:
    """`kill -9` of two processes, SIGTERM to one, and a last start give the bytes of a run that was
    left alone; no process stays behind."""
    answers = write_lines(
        tmp_path / "a.jsonl",
        *(
            line(q, k, f"{q} {k} " + "und so weiter " * ((q + k) % 9))
            for q in range(400)
            for k in range(5)
        ),
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # As many threads for each process as the others have: theirs decide the last bits of a sum.
    command = [*CLI, "rank", f"model={model}", f"answers={answers}", "device=cpu"]
    alone = subprocess.run([*command, f"output_dir={whole}"], env=ENVIRONMENT)
    assert alone.returncode == ExitCode.DONE
    command.append(f"output_dir={killed}")
    journal = killed / "journal.jsonl"
    for number, processes in ((signal.SIGKILL, 2), (signal.SIGTERM, 1)):
        before = journal.stat().st_size if journal.exists() else 0
        process = subprocess.Popen(
            [*command, f"processes={processes}"],
            stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        while process.poll() is None and not (journal.exists() and journal.stat().st_size > before):
            time.sleep(0.002)
        started = children(process.pid)
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=60)
        if number == signal.SIGTERM:
            assert process.returncode == ExitCode.PREEMPTED, said
            assert "the same line goes on" in said.splitlines()[-1]
        else:
            assert len(started) >= processes and are_gone(started)
        assert {*written(killed)} == {"journal.jsonl"}
    assert 0 < len(journal.read_bytes().splitlines()) < 2000
    assert subprocess.run(command, env=ENVIRONMENT).returncode == ExitCode.DONE
    ours, theirs = written(killed), written(whole)
    assert {*ours.pop("journal.jsonl").splitlines()} == {*theirs.pop("journal.jsonl").splitlines()}
    assert ours == theirs
