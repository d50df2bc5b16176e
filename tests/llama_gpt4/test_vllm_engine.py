"""vLLM answers as transformers does; without it, one line says what to install."""

import importlib.util
import json
from pathlib import Path

import pytest

from llama_gpt4.answer import main
from llama_gpt4.errors import ExitCode
from tests.llama_gpt4.test_generation import KNOWN, trained_folder

IS_INSTALLED = importlib.util.find_spec("vllm") is not None


def answered(arguments: list[str], output: Path) -> list[dict]:
    assert main([*arguments, f"output={output}"]) == ExitCode.DONE
    lines = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    return sorted(lines, key=lambda line: (line["question_id"], line["sample"]))


@pytest.mark.slow
@pytest.mark.skipif(not IS_INSTALLED, reason="vLLM is not installed")
def test_vllm_says_what_transformers_says_and_repeats_what_it_draws(tmp_path_factory, tmp_path):
    questions = tmp_path / "questions.json"
    asked = [{"instruction": question, "input": input} for question, input, _ in KNOWN]
    questions.write_text(json.dumps(asked, ensure_ascii=False), "utf-8")
    # vLLM's attention knows no heads of fewer than 32 numbers.
    folder = trained_folder(tmp_path_factory.getbasetemp(), hidden_size=128)
    arguments = [f"model={folder}", f"questions={questions}", "decoding.max_new_tokens=32"]
    ours = answered(arguments, tmp_path / "transformers.jsonl")
    theirs = answered([*arguments, "engine=vllm"], tmp_path / "vllm.jsonl")
    assert [line["answer"] for line in theirs] == [line["answer"] for line in ours]
    assert {line["finish_reason"] for line in theirs} == {"stop"}
    assert {line["decoding"]["engine"] for line in theirs} == {"vllm"}

    drawn = [*arguments, "engine=vllm", "decoding=paper", "decoding.temperature=1.5", "samples=2"]
    drawn.append("decoding.max_new_tokens=6")
    whole = answered(drawn, tmp_path / "whole.jsonl")
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join((tmp_path / "whole.jsonl").read_bytes().splitlines(True)[:2]))
    assert answered([*drawn, "batch_size=1"], cut) == whole


@pytest.mark.skipif(IS_INSTALLED, reason="vLLM is installed")
def test_without_vllm_one_line_says_what_to_install(tmp_path, capsys):
    output = tmp_path / "answers.jsonl"
    arguments = ["model=m", "questions=sample:en", f"output={output}", "engine=vllm"]
    assert main(arguments) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert said == (
        "llama-gpt4 answer: engine=vllm needs a package that is not installed: pip install vllm\n"
    )
