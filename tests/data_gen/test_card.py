"""A card says what is in a data set, how it was made and what binds who uses it."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard
from llama_gpt4_data.card import About, card

from llama_gpt4.errors import InputError
from llama_gpt4.records import origins

from .answering import Answering, instructions
from .endpoints import endpoint_config

ABOUT = About(task="answer", language="zh", category="text-generation", frame="Q: {instruction}")
REPORT = {
    "items": 4,
    "records": 2,
    "failed": 1,
    "open": 1,
    "failures": {"empty": 1},
    "findings": {"truncated": 1, "empty": 1},
}


def record(file: str, **values: Any) -> dict[str, Any]:
    made = {
        "derived_from": {"id": "1", "file": file, "index": 0},
        "model": "gpt-4-0613",
        "parameters": {"temperature": 1.0},
        "prompt_sha256": "0" * 64,
        "finish_reason": "stop",
        "time": "2026-01-02T03:04:05+00:00",
    }
    return {"id": "1", "instruction": "abc", "output": "abcdef", "provenance": made | values}


@pytest.fixture
def records(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "seeds.json"
    file.write_text("[1]")
    cut = {"finish_reason": "length", "time": "2026-01-03T00:00:00+00:00"}
    return [record(str(file)), record(str(file), **cut)]


def test_the_hub_can_read_its_head(records: list[dict[str, Any]]) -> None:
    text = card(ABOUT, endpoint_config(), None, records, REPORT)
    head = DatasetCard(text).data
    assert head.license == "cc-by-nc-4.0" and head.language == ["zh"]
    assert head.size_categories == ["n<1K"] and head.task_categories == ["text-generation"]
    files = {each["config_name"]: each["data_files"] for each in head.to_dict()["configs"]}
    assert files == {"default": "data.json", "provenance": "data.jsonl"}


@pytest.mark.parametrize(
    "n, size", [(0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (52_002, "10K<n<100K")]
)
def test_the_size_of_a_set(n: int, size: str) -> None:
    records = [{"instruction": "a"}] * n
    text = card(ABOUT, endpoint_config(), None, records, REPORT)
    assert yaml.safe_load(text.split("---\n")[1])["size_categories"] == [size]


def test_counts_lengths_and_how_it_was_made(records: list[dict[str, Any]], tmp_path: Path) -> None:
    text = card(ABOUT, endpoint_config(), "apache-2.0", records, REPORT)
    for row in (
        "| asked for | 4 |",
        "| failed: empty | 1 |",
        "| found: truncated | 1 |",
        "| not asked yet | 1 |",
        "| output | 6 | 6 | 6 | 6 | 0 |",
        "| model, as the endpoint names it | gpt-4-0613 |",
        '| parameters | {"temperature": 1.0} |',
        "| finish reasons | stop (1), length (1) |",
        "| first and last reply | 2026-01-02T03:04:05+00:00 to 2026-01-03T00:00:00+00:00 |",
        f"| seeds.json | 2 | apache-2.0 | {hashlib.sha256(b'[1]').hexdigest()} |",
    ):
        assert row + "\n" in text
    assert "~~~text\nQ: {instruction}\n~~~" in text
    assert hashlib.sha256(b"Q: {instruction}").hexdigest() in text
    assert str(tmp_path) not in text, "where a file lay is nobody's business"


def test_licences_of_replies_sources_and_program_are_told_apart(
    records: list[dict[str, Any]],
) -> None:
    text = card(ABOUT, endpoint_config(terms="Do no harm."), "apache-2.0", records, REPORT)
    below = text.partition("## Licence and terms\n\n")[2]
    assert below.startswith("- The replies of the model: cc-by-nc-4.0.\n")
    assert "bound by: Do no harm.\n" in below
    assert "- The records that it was made from: apache-2.0.\n" in below
    assert "llama-gpt4, is under Apache-2.0, which says nothing about the data" in below
    unknown = card(ABOUT, endpoint_config(), None, records, REPORT)
    assert "made from: not stated; find out before you share this." in unknown


def test_no_licence_no_card(records: list[dict[str, Any]]) -> None:
    endpoint = endpoint_config()
    endpoint.licence = ""
    with pytest.raises(InputError, match="licence is empty"):
        card(ABOUT, endpoint, None, records, REPORT)


def test_provenance_is_found_wherever_it_stands() -> None:
    first, second = record("a")["provenance"], record("b")["provenance"]
    nested = [{"provenance": {"ratings": [first, {"more": second}]}}, {"text": "prompt_sha256"}]
    assert list(origins(nested)) == [first, second]


def test_a_frame_or_reason_with_a_bar_keeps_the_table_whole(
    records: list[dict[str, Any]],
) -> None:
    report = {**REPORT, "failures": {"400: a | b\nc": 1}}
    text = card(replace(ABOUT, frame="a | b"), endpoint_config(), None, records, report)
    assert "| failed: 400: a \\| b c | 1 |\n" in text


def test_a_run_leaves_its_card_and_a_folder_for_datasets(answering: Answering) -> None:
    run = answering(instructions(3), "run.arrow=true", "run.source_licence=mit")
    assert run.code == 0
    text = (run.output_dir / "README.md").read_text(encoding="utf-8")
    assert "| records.json | 3 | mit | " in text and "| records | 3 |" in text
    assert "OpenAI's terms of use" in text and "### Instruction:\n{instruction}" in text
    assert sorted(path.suffix for path in (run.output_dir / "arrow").iterdir()) == [
        ".arrow", ".json", ".json",
    ]  # fmt: skip
