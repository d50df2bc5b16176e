"""Tasks are translated, kept as they should be, and then answered in their new language."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data import cli
from llama_gpt4_data.requests import Reply
from llama_gpt4_data.sources import Source
from llama_gpt4_data.translate import TranslateConfig, TranslationItem, TranslationPolicies
from llama_gpt4_data.translations import TranslationLimits

from llama_gpt4.errors import InputError
from llama_gpt4.language import language_of

from .endpoints import endpoint_config, prices_config, reply, run_config
from .teacher import Teacher

SOURCE = Source(
    id="7", instruction="Add `x`.", input="", output="2", repeat=1, file="a.json", index=3, value={}
)
GOOD, LOST = (f"<task_instruction>{text}</task_instruction>" for text in ("加上 `x`。", "加上它。"))


def config(**values: Any) -> TranslateConfig:
    given: dict[str, Any] = {
        "what": "tasks",
        "files": ["a.json"],
        "limit": None,
        "source_language": "en",
        "target_language": "zh",
        "limits": TranslationLimits(min_length_ratio=0.3, max_length_ratio=2.0),
        "policy": policies(),
        "run": run_config(),
        "translator": endpoint_config(),
        "prices": prices_config(),
    }
    return TranslateConfig(**(given | values))


def policies(**values: str) -> TranslationPolicies:
    names = (
        "unreadable", "truncated", "lost_part", "lost_number", "structure", "wrong_language",
        "input_untranslated", "answered", "shortened",
    )  # fmt: skip
    return TranslationPolicies(**({name: "retry" for name in names} | values))


def translated(*texts: str, reason: str = "stop", **policy: str) -> Any:
    """An item, and the replies that come one after the other."""
    item = TranslationItem(SOURCE, config(policy=policies(**policy)))
    replies: list[Reply] = []
    for text in texts:
        asked = item.request(replies)
        assert asked is not None
        replies.append(reply(asked, text, finish_reason=reason))
    return item, replies


def test_a_translation_waits_for_its_answer() -> None:
    item, replies = translated(GOOD)
    assert item.request(replies) is None
    made = item.made(replies)
    assert made.record == {"id": "7", "instruction": "加上 `x`。", "input": "", "output": ""}
    assert made.findings == []


def test_the_second_translation_counts() -> None:
    item, replies = translated(LOST, GOOD)
    assert item.request(replies) is None, "never paid more than twice"
    assert item.made(replies).findings == []


def test_a_second_reply_that_cannot_be_read_is_no_reason_to_lose_the_first() -> None:
    item, replies = translated(LOST, "抱歉。")
    made = item.made(replies)
    assert made.record is not None and made.findings == ["lost_part"]


def test_policies() -> None:
    item, replies = translated("加上它。", "加上它。")
    assert item.made(replies).failure == "unreadable"
    item, replies = translated(LOST, lost_part="drop")
    assert item.request(replies) is None and item.made(replies).failure == "lost_part"
    item, replies = translated(LOST, lost_part="keep")
    assert item.request(replies) is None and item.made(replies).record is not None
    item, replies = translated("<task_instruction>加上 `x`", reason="length")
    longer = item.request(replies)
    assert longer is not None and longer.max_tokens == 1024
    with pytest.raises(InputError, match=r"policy\.unreadable=keep is not one of drop, retry$"):
        policies(unreadable="keep")
    with pytest.raises(InputError, match="source_language and target_language are both zh"):
        config(source_language="zh")


RECORDS = [
    {"instruction": "Name two rivers in {country}.", "input": "", "output": "Not shown."},
    {"instruction": "Correct the code.", "input": "Run `ls -l` 3 times.", "output": ""},
    {"instruction": "Say it again [[fault:empty]]", "input": "", "output": ""},
    {"instruction": "Count to 5 [[fault:500*1]]", "input": "", "output": ""},
]


@pytest.fixture
def data(teacher: Teacher, tmp_path: Path) -> Any:
    def run(task: str, role: str, file: Path, name: str, *more: str) -> tuple[int, Path]:
        overrides = [
            f"files=[{file}]",
            f"run.output_dir={tmp_path / name}",
            f"run.journal_dir={tmp_path / 'journal'}",
            f"{role}.base_url={teacher.base_url}",
        ]
        return cli.main([task, *overrides, *more]), tmp_path / name

    return run


def test_translated_then_answered_in_chinese(data: Any, tmp_path: Path) -> None:
    file = tmp_path / "en.json"
    file.write_text(json.dumps(RECORDS))
    code, out = data("translate", "translator", file, "zh")
    assert code == 0
    records = [json.loads(line) for line in (out / "data.jsonl").read_text().splitlines()]
    report = json.loads((out / "report.json").read_text())
    assert (report["items"], report["records"], report["failed"]) == (4, 3, 1)
    assert report["failures"] == {"unreadable": 1} and report["model"] == "gpt-3.5-turbo"
    assert [record["output"] for record in records] == ["", "", ""]
    assert "{country}" in records[0]["instruction"] and "`ls -l` 3" in records[1]["input"]
    assert all(language_of(record["instruction"]) == "zh" for record in records)
    assert records[1]["provenance"]["derived_from"] == {
        "id": records[1]["id"], "file": str(file), "index": 1
    }  # fmt: skip

    code, answers = data("answer", "teacher", out / "data.jsonl", "answers", "language=zh")
    assert code == 0
    answered = [json.loads(line) for line in (answers / "data.jsonl").read_text().splitlines()]
    assert [record["id"] for record in answered] == [record["id"] for record in records]
    assert all(record["output"].startswith("答案") for record in answered)
    assert not any("label" in record for record in answered)


def test_answers_of_a_model_are_translated_for_a_judge(data: Any, tmp_path: Path) -> None:
    """In any layout; an empty answer stays empty, and nothing is asked for it."""
    file = tmp_path / "answers.jsonl"
    lines = [
        {"answer_id": "X", "question_id": 4, "text": "Run `ls -l` 3 times.", "model_id": "m"},
        {"question_id": 5, "question": "Why?", "answer": " ", "sample": 1, "model": "n"},
        {"id": "6", "instruction": "Add.", "input": "", "output": "It is 7."},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out = data("translate", "translator", file, "zh", "what=answers")
    assert code == 0
    records = [json.loads(line) for line in (out / "data.jsonl").read_text().splitlines()]
    assert [record["question_id"] for record in records] == ["4", "5", "6"]
    assert [(record["sample"], record["model"]) for record in records] == [
        (0, "m"), (1, "n"), (0, None)
    ]  # fmt: skip
    assert "`ls -l` 3" in records[0]["answer"] and language_of(records[0]["answer"]) == "zh"
    assert records[1]["answer"] == "" and "model" not in records[1]["provenance"]
    assert records[0]["provenance"]["model"] == "gpt-3.5-turbo"
    assert (out / "README.md").exists()


def test_the_category_of_a_question_is_kept() -> None:
    item, replies = translated(GOOD)
    categorised = TranslationItem(replace(SOURCE, value={"category": "math"}), item.config)
    made = categorised.made(replies)
    assert made.record is not None and made.record["category"] == "math"
