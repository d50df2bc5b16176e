"""A part is the same however its files are cut and whoever inspects the blocks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llama_gpt4 import blocks, parts, workers
from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.inspection import Inspection
from llama_gpt4.parts import write_part
from llama_gpt4.prepare import prepare
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

ConfigFor = Callable[..., TrainConfig]
ENGLISH = [
    {
        "instruction": f"Name tree {n % 30}.",
        "output": f"An oak is one, and it is {n % 40} years old.",
    }
    for n in range(90)
]
CHINESE = [
    {"instruction": f"请说出第{n}种树。", "output": f"白桦树就是一种，它已经{n}岁了。"}
    for n in range(60)
]
NAMES = ("tokens.bin", "examples.npy", "targets.npy")


@pytest.fixture
def write(
    train_config: ConfigFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, list[bytes]]]:
    """Write a part from files of records; its report and its files."""
    train_tokenizer([r["output"] for r in (*ENGLISH, *CHINESE)], 400, tmp_path / "tokenizer.model")

    def write(files: list[Any], *, cores: int, block_values: int) -> tuple[Any, list[bytes]]:
        for module in (parts, workers):
            monkeypatch.setattr(module, "usable_cores", lambda: cores)
        monkeypatch.setattr(blocks, "BLOCK_VALUES", block_values)
        names = [str(tmp_path / f"{n}.json") for n in range(len(files))]
        for name, records in zip(names, files, strict=True):
            Path(name).write_text(json.dumps(records))
        changes = {"data.files": names, "data.policy.wrong_language": "drop"}
        data = train_config(**changes).data
        inspection = Inspection(data, "train", None, tmp_path, np.uint16)
        report = write_part(inspection, Tokenizer.load(tmp_path), tmp_path)
        return report, [(tmp_path / name).read_bytes() for name in NAMES]

    return write


def test_other_processes_make_the_same(write: Callable[..., Any]) -> None:
    files = [ENGLISH + CHINESE[:3], CHINESE, [*ENGLISH, *CHINESE]]
    alone = write(files, cores=1, block_values=1000)
    assert alone[0]["dropped"]["wrong_language"] == 3 and alone[0]["dropped"]["duplicate"]
    assert write(files, cores=1, block_values=7) == alone
    assert write(files, cores=3, block_values=7) == alone


@pytest.mark.parametrize("cores", [1, 2])
def test_a_file_that_begins_in_another_language(write: Callable[..., Any], cores: int) -> None:
    """Its first block claims what the whole file does not."""
    minority = CHINESE[:5] + ENGLISH
    report, _ = write([minority], cores=cores, block_values=5)
    assert [source["language"] for source in report["sources"]] == ["en"]
    wrong = report["findings"]["wrong_language"]["records"]
    assert [place["record"] for place in wrong] == list(range(5))
    mixed = CHINESE[:50] + ENGLISH[:50]
    report, _ = write([mixed], cores=cores, block_values=5)
    assert [source["language"] for source in report["sources"]] == [None]
    assert not report["findings"]["wrong_language"]["found"]


@pytest.mark.parametrize("cores", [1, 2])
def test_a_broken_record_ends_it_with_a_count(write: Callable[..., Any], cores: int) -> None:
    broken = [{"instruction": "x"}, "x"]
    with pytest.raises(InputError) as caught:
        write([ENGLISH + broken + ENGLISH], cores=cores, block_values=10)
    assert str(caught.value).endswith(
        "0.json record 90 has no key `output` (its keys: instruction); 2 of the first 100 records "
        "cannot be used as they are, or say data.policy.broken_record=drop"
    )


def test_a_line_that_breaks_off_can_be_dropped(train_config: ConfigFor, tmp_path: Path) -> None:
    """As the last one of a file that was still being written."""
    lines = [json.dumps(record) for record in ENGLISH]
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join([lines[0], lines[1][:-9], *lines[2:], lines[0][:20]]))
    broken = {"data.files": [str(path)]}
    with pytest.raises(InputError, match=r"JSONL: .* \(line 2, column \d+\), or say data\.policy"):
        prepare(train_config(**broken))
    report = prepare(train_config(**broken, **{"data.policy.broken_record": "drop"})).report[
        "train"
    ]
    assert [place["record"] for place in report["findings"]["broken_record"]["records"]] == [2, 91]
    assert report["read"] == 91 and report["dropped"]["broken_record"] == 2
