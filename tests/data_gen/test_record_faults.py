"""What is wrong with records among others: duplicates, near ones, overlap with an evaluation."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.check_config import CheckConfig
from llama_gpt4_data.record_faults import Entry, find_faults, read_entries

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")

TREE = {"instruction": "Name four kinds of trees that grow in Europe", "output": "Oak and ash."}


def checked(folder: Path, records: list[dict[str, Any]], *overrides: str) -> list[Entry]:
    file = folder / "records.json"
    file.write_text(json.dumps(records), "utf-8")
    entries = read_entries(str(file))
    find_faults(entries, compose(CheckConfig, "data_gen/check", [f"files=[{file}]", *overrides]))
    return entries


def rules(entries: list[Entry]) -> list[list[str]]:
    return [[finding.rule for finding in entry.findings] for entry in entries]


def test_the_second_of_equal_tasks_is_a_duplicate(tmp_path: Path) -> None:
    other_input = TREE | {"input": "Spain"}
    entries = checked(tmp_path, [TREE, other_input, TREE | {"output": "Lime.", "input": " "}])
    assert rules(entries) == [[], [], ["duplicate"]]
    assert entries[2].findings[0].excerpt.startswith("of records.json record 0: Name four")


def test_a_dropped_record_leaves_its_duplicates(tmp_path: Path) -> None:
    empty = TREE | {"output": ""}
    assert rules(checked(tmp_path, [empty, TREE, TREE])) == [["empty"], [], ["duplicate"]]
    kept = checked(tmp_path, [empty, TREE], "answer.empty=keep")
    assert rules(kept) == [["empty"], ["duplicate"]]


def test_near_duplicates_are_above_the_threshold(tmp_path: Path) -> None:
    near = TREE | {"instruction": TREE["instruction"] + " today"}  # F = 16 / 17
    assert rules(checked(tmp_path, [TREE, near])) == [[], ["near_duplicate"]]
    for override in ("near_duplicate_rouge_l=0.95", "near_duplicate_rouge_l=null"):
        assert rules(checked(tmp_path, [TREE, near], override)) == [[], []]


def test_one_instruction_with_many_inputs_is_no_duplicate(tmp_path: Path) -> None:
    inputs = ["Spain", "Italy", "Spain and Italy and Greece, if you know all of them"]
    records = [TREE | {"input": input} for input in [*inputs, inputs[2] + " well"]]
    assert rules(checked(tmp_path, records)) == [[], [], [], ["near_duplicate"]]


def test_chinese_near_duplicates_are_found(tmp_path: Path) -> None:
    first = {"instruction": "请列出四种生长在欧洲的树木。", "output": "橡树。"}
    near = first | {"instruction": "请列出四种生长在欧洲的树木"}
    other = first | {"instruction": "请写一首关于秋天的诗。"}
    assert rules(checked(tmp_path, [first, near, other])) == [[], ["near_duplicate"], []]


def test_questions_of_the_evaluation_are_found(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    asked = ["Which trees grow best in the north of Spain?", "???"]
    questions.write_text(
        "".join(json.dumps({"question_id": n, "text": t}) + "\n" for n, t in enumerate(asked))
    )
    records = [
        TREE,
        TREE | {"instruction": "Which trees grow best in the north of Italy?"},
        TREE | {"instruction": " ??? "},  # has no words, and is equal
    ]
    entries = checked(tmp_path, records, f"evaluation_files=[{questions}]")
    assert rules(entries) == [[], ["evaluation_overlap"], ["evaluation_overlap"]]
    assert entries[1].findings[0].excerpt.startswith("0.89 questions.jsonl 0: Which trees")
    assert entries[2].findings[0].excerpt == "equals questions.jsonl 1: ???"


def test_a_missing_evaluation_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evaluation_files=nowhere\.json does not exist"):
        checked(tmp_path, [TREE], "evaluation_files=[nowhere.json]")


def test_faults_of_task_and_answer_are_found_together(tmp_path: Path) -> None:
    record = {
        "instruction": "Describe the given image.",
        "input": "N/A",
        "output": "I'm sorry, but I cannot see images. Write to jane.roe@gmail.com.",
        "source": "me",
    }
    [entry] = checked(tmp_path, [record], "min_output_tokens=50")
    assert rules([entry]) == [
        ["refusal", "length", "placeholder_input", "media_task", "personal_data"]
    ]
    assert "jane.roe" not in entry.findings[-1].excerpt
    assert entry.cleaned == record | {"input": ""}


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_seeds_that_overlap_the_evaluation_are_those_published(tmp_path: Path) -> None:
    tasks = map(
        json.loads,
        (Path(REAL_DATA or "") / "user_oriented_instructions.jsonl")
        .read_text("utf-8")
        .splitlines(),
    )
    records = [{"instruction": task["instruction"], "output": "An answer."} for task in tasks]
    seeds = f"evaluation_files=[{REAL_DATA}/seed_tasks.jsonl]"
    entries = checked(tmp_path, records, seeds)
    overlapping = [n for n, found in enumerate(rules(entries)) if "evaluation_overlap" in found]
    assert overlapping == [32, 89, 124]


def test_a_fault_of_any_turn_is_one_of_the_conversation(tmp_path: Path) -> None:
    turns = [("human", TREE["instruction"]), ("gpt", "Oak and ash."), ("human", "More?")]

    def conversation(*answers: str) -> dict[str, Any]:
        said = [*turns, *(("gpt", answer) for answer in answers)]
        return {"conversations": [{"from": by, "value": value} for by, value in said]}

    sound, empty = conversation("Lime and birch."), conversation(" ")
    mail = conversation("Write to jane.roe@gmail.com.")
    entries = checked(tmp_path, [TREE, sound, empty, sound, mail], "record.personal_data=keep")
    assert rules(entries) == [[], [], ["empty"], ["duplicate"], ["personal_data", "duplicate"]]
    assert entries[1].cleaned == sound
