"""The program `answer`: what it writes, what it goes on with, what it refuses."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llama_gpt4.answer import main, quote_values
from llama_gpt4.errors import ExitCode
from llama_gpt4.questions import hashed_id
from tests.command import ENVIRONMENT
from tests.llama_gpt4.test_generation import KNOWN, trained_folder

SHORT = ["decoding.max_new_tokens=32", "batch_size=2", "device=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return trained_folder(tmp_path_factory.getbasetemp())


@pytest.fixture
def questions(tmp_path) -> Path:
    path = tmp_path / "问题, one.json"
    asked = [{"instruction": question, "input": input} for question, input, _ in KNOWN]
    path.write_text(json.dumps(asked, ensure_ascii=False), "utf-8")
    return path


def answer(folder, questions, output, *more) -> int:
    return main([f"model={folder}", f"questions={questions}", f"output={output}", *SHORT, *more])


def lines_of(output):
    return [json.loads(line) for line in output.read_text("utf-8").splitlines()]


def test_every_question_is_answered_once(folder, questions, tmp_path, capsys):
    output = tmp_path / "new" / "answers.jsonl"
    assert answer(folder, questions, output) == ExitCode.DONE
    lines = {line["question_id"]: line for line in lines_of(output)}
    assert len(lines) == len(KNOWN)
    for question, input, text in KNOWN:
        assert lines[hashed_id(question, input)] == {
            "question_id": hashed_id(question, input),
            "question": f"{question}\n{input}" if input else question,
            **({"input": input} if input else {}),
            "answer": text,
            "sample": 0,
            "model": str(folder),
            "decoding": {"max_new_tokens": 32, "temperature": 0.0, "top_p": 1.0},
            "finish_reason": "stop",
        }
    said = capsys.readouterr()
    assert said.out == f"3 answers, 3 of them ended by the model itself -> {output}\n"
    assert "3/3" in said.err

    before = output.read_bytes()
    assert answer(folder, questions, output) == ExitCode.DONE
    assert output.read_bytes() == before
    assert capsys.readouterr().out == said.out


def test_a_cut_file_goes_on_and_comes_out_the_same(folder, questions, tmp_path):
    drawn = ["samples=3", "decoding=paper", "decoding.max_new_tokens=6", "seed=3"]
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    assert answer(folder, questions, whole, *drawn) == ExitCode.DONE
    lines = whole.read_bytes().splitlines(keepends=True)
    assert len(lines) == 9
    cut.write_bytes(b"".join(lines[:4]) + lines[4][:37])
    assert answer(folder, questions, cut, *drawn, "batch_size=5") == ExitCode.DONE
    assert cut.read_bytes().splitlines(keepends=True)[:4] == lines[:4]
    assert sorted(cut.read_bytes().splitlines(keepends=True)) == sorted(lines)
    assert {(line["question_id"], line["sample"]) for line in lines_of(cut)} == {
        (hashed_id(question, input), sample) for question, input, _ in KNOWN for sample in range(3)
    }
    assert lines_of(whole)[0]["decoding"]["seed"] == 3


def test_the_decoding_of_fastchat_is_stored_with_the_answers(folder, questions, tmp_path):
    output = tmp_path / "answers.jsonl"
    known = ["decoding=fastchat", "decoding.max_new_tokens=3"]
    assert answer(folder, questions, output, *known) == ExitCode.DONE
    stored = {"max_new_tokens": 3, "temperature": 0.7, "top_p": 1.0, "seed": 42}
    assert [line["decoding"] for line in lines_of(output)] == [stored] * len(KNOWN)


def test_more_samples_and_questions_are_added(folder, questions, tmp_path):
    output = tmp_path / "answers.jsonl"
    drawn = ["decoding=paper", "decoding.max_new_tokens=3"]
    assert answer(folder, questions, output, *drawn) == ExitCode.DONE
    first = lines_of(output)
    assert answer(folder, questions, output, *drawn, "samples=2") == ExitCode.DONE
    assert lines_of(output)[:3] == first
    assert [line["sample"] for line in lines_of(output)] == [0, 0, 0, 1, 1, 1]


@pytest.fixture
def two(folder, tmp_path) -> list[Path]:
    """Two models that are called by their runs."""
    models = [tmp_path / "runs" / name / "model" for name in ("a, 1", "模型")]
    for model in models:
        model.parent.mkdir(parents=True)
        model.symlink_to(folder)
    return models


def test_several_models_answer_one_after_the_other_each_in_a_file(two, questions, tmp_path, capsys):
    output = tmp_path / "answers"
    several = f"['{two[0]}', {two[1]}]"
    assert answer(several, questions, output) == ExitCode.DONE
    files = [output / "a, 1.jsonl", output / "模型.jsonl"]
    assert sorted(output.iterdir()) == sorted(files)
    for file, model in zip(files, two, strict=True):
        assert len(lines_of(file)) == 3
        assert {line["model"] for line in lines_of(file)} == {str(model)}
    said = "".join(f"3 answers, 3 of them ended by the model itself -> {file}\n" for file in files)
    assert capsys.readouterr().out == said

    whole = files[1].read_bytes()
    cut = whole.splitlines(keepends=True)[0]
    files[1].write_bytes(cut)
    before = files[0].stat().st_mtime_ns
    assert answer(several, questions, output) == ExitCode.DONE
    assert sorted(files[1].read_bytes().splitlines()) == sorted(whole.splitlines())
    assert files[0].stat().st_mtime_ns == before, "what is answered is left as it is"
    assert capsys.readouterr().out == said


def test_one_model_may_be_answered_in_a_folder_as_well(two, questions, tmp_path, capsys):
    alone = tmp_path / "alone"
    for output in (f"{alone}/", alone):
        assert answer(two[0], questions, output) == ExitCode.DONE
        assert [file.name for file in alone.iterdir()] == ["a, 1.jsonl"]
    (tmp_path / "other" / "a, 1.jsonl").mkdir(parents=True)
    assert answer(two[0], questions, tmp_path / "other") == ExitCode.BAD_INPUT
    assert "other/a, 1.jsonl cannot be read: Is a directory" in capsys.readouterr().err


def test_no_model_begins_before_all_have_been_looked_at(two, questions, tmp_path, capsys):
    output = tmp_path / "answers"
    there = f"['{two[0]}',{two[1]}]"
    for several, message in [
        (f"['{two[0]}',/nowhere]", "/nowhere does not exist"),
        (f"['{two[0]}','{two[0]}']", "would both be answered in a, 1.jsonl"),
        (f"[{two[1]},{tmp_path}/模型]", "would both be answered in 模型.jsonl"),
        ("[]", "models is empty"),
    ]:
        assert answer(several, questions, output) == ExitCode.BAD_INPUT
        assert message in capsys.readouterr().err
    output.mkdir()
    (output / "模型.jsonl").write_text("my diary\n")
    assert answer(there, questions, output) == ExitCode.BAD_INPUT
    assert "模型.jsonl line 1 is no answer" in capsys.readouterr().err
    assert [file.name for file in output.iterdir()] == ["模型.jsonl"]
    assert answer(there, questions, output / "模型.jsonl") == ExitCode.BAD_INPUT
    assert "is a file: several models take a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "decoding.max_new_tokens=9",
            "answers of another decoding (max_new_tokens: 32 there, 9 here)",
        ),
        (
            "decoding=paper",
            "another decoding (temperature: 0.0 there, 1.0 here; seed: None there, 42 here)",
        ),
        ("model=elsewhere/model", "answers of another model ("),
    ],
)
def test_answers_made_in_another_way_are_not_mixed(
    folder, questions, tmp_path, capsys, change, message
):
    output = tmp_path / "answers.jsonl"
    assert answer(folder, questions, output) == ExitCode.DONE
    before = output.read_bytes()
    more = [change] if "max_new" in change else [change, "decoding.max_new_tokens=32"]
    assert answer(folder, questions, output, *more) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err.splitlines()[-1]
    assert message in said and str(output) in said
    assert output.read_bytes() == before


@pytest.mark.parametrize("question", [{"question_id": 8, "text": "b"}, {"id": 7, "text": "c"}])
def test_answers_to_other_questions_are_not_mixed(tmp_path, capsys, question):
    output, questions = tmp_path / "answers.jsonl", tmp_path / "questions.jsonl"
    made_by = {"model": "m", "decoding": {"max_new_tokens": 32, "temperature": 0.0, "top_p": 1.0}}
    line = {"question_id": 7, "question": "a", "answer": "b", "sample": 0, **made_by}
    output.write_text(json.dumps(line | {"finish_reason": "stop"}) + "\n")
    before = output.read_bytes()
    questions.write_text(json.dumps(question) + "\n")
    assert answer("m", questions, output) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert f"output={output} line 1 answers another question" in said and "question_id 7" in said
    assert output.read_bytes() == before
    questions.write_text(json.dumps({"question_id": "7", "text": "a"}) + "\n")
    assert answer("m", questions, output) == ExitCode.DONE, "all is answered: no model is needed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "models has no value"),
        (["model=m", "questions=q", "output=o", "samples=0"], "samples=0 must be positive"),
        (["model=m", "questions=q", "output=o", "samples=2"], "samples=2 would all be the same"),
        (["model=m", "questions=q", "output=o", "batch_size=0"], "batch_size=0 must be positive"),
        (["model=m", "questions=q", "output=o", "device=tpu"], "device=tpu is not one of"),
        (["model=m", "questions=q", "output=o", "engine=tgi"], "engine=tgi is not one of"),
        (["model=m", "questions=q", "output=o", "engine=vllm", "device=cpu"], "vLLM chooses its"),
        (["model=m", "questions=q", "output=o", "seed=-1"], "seed=-1 is negative"),
        (["model=m", "questions=q", "output=o", "decoding=hot"], "decoding=hot does not exist"),
        (
            ["model=m", "questions=q", "output=o", "decoding.top_p=0.5"],
            "decoding.top_p=0.5 changes",
        ),
        (["model=m", "questions=q", "output=o", "decoding.top_p=0"], "is not within (0, 1]"),
        (["model=m", "questions=q", "output=o", "decoding.temperature=-1"], "must be 0 or a pos"),
        (["model=m", "questions=q", "output=o", "decoding.temperature=nan"], "must be 0 or a pos"),
        (["model=m", "questions=q", "output=o", "decoding.max_new_tokens=0"], "must be positive"),
        (["model=m", "questions=q", "output=o", "sample=2"], "sample is not a key of this program"),
        (["model=m", "questions=没有.json", "output=o"], "questions=没有.json does not exist"),
        (["model=/m", "questions=sample:en", "output=/m/o"], "model.path=/m does not exist"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    assert main(arguments) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1 and said.startswith("llama-gpt4 answer: ")


def test_a_question_that_does_not_fit_is_named(folder, tmp_path, capsys):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question_id": 81, "text": "word " * 400}) + "\n")
    assert answer(folder, path, tmp_path / "a.jsonl") == ExitCode.BAD_INPUT
    assert "question 81 has " in capsys.readouterr().err
    assert not (tmp_path / "a.jsonl").exists()


def test_paths_are_taken_to_the_letter():
    keys = {"model": "model.path", "output": "output"}
    given = ["model=a, 'b'\\ {c}", "output=", "model=null", "seed=1", "--help", "modelling=x"]
    assert quote_values(given, keys) == [
        "model.path='a, \\'b\\'\\ {c}'",
        "output=",
        "model.path=null",
        "seed=1",
        "--help",
        "modelling=x",
    ]


def test_help_needs_neither_torch_nor_transformers():
    seen = (
        "import sys; from llama_gpt4.answer import main; main(['--help']); "
        "from llama_gpt4.chat import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'numpy')))"
    )
    help = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True)
    assert help.returncode == 0, help.stderr
    assert "questions: str" in help.stdout and "prompt: str | null" in help.stdout


@pytest.mark.e2e
def test_a_stopped_program_says_how_to_go_on(folder, tmp_path):
    output = tmp_path / "answers.jsonl"
    command = [sys.executable, "-m", "llama_gpt4.answer", f"model={folder}", f"output={output}"]
    command += ["questions=sample:en", *SHORT, "decoding.max_new_tokens=16", "batch_size=1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    while process.poll() is None and not (output.exists() and output.read_bytes().count(b"\n")):
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == ExitCode.PREEMPTED, said
    assert "the same line goes on" in said
    n_done = len(lines_of(output))
    assert said.splitlines()[-1].startswith(f"llama-gpt4 answer: {n_done} answers are in ")
