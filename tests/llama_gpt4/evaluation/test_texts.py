"""`evaluate metric=texts` from files to a table and a file of results."""

import json
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.evaluate import main

ENGLISH = [
    *["Regular exercise has a positive impact on health."] * 2,
    "Walking has a positive impact on the mind. It is free.",
    "One way is to save money every month.",
    " ".join(["word"] * 600),
]
CHINESE = ["学习编程语言需要时间。", "你可以使用以下公式来计算面积。", "中国的首都是北京。"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, texts in (("en", ENGLISH), ("zh", CHINESE)):
        records = [{"instruction": f"Say {text}", "output": text} for text in texts]
        Path(f"{name}.json").write_text(json.dumps(records), "utf-8")
    Path("questions.jsonl").write_text('{"question_id": 1, "text": "What?", "category": "math"}\n')
    return tmp_path


def result() -> dict[str, Any]:
    return json.loads(Path("texts.json").read_text("utf-8"))


def test_data_sets_stand_side_by_side(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metric=texts", "files={en: en.json, zh: zh.json, asked: questions.jsonl}"]) == 0
    found = result()
    english, chinese, asked = (found["sets"][name] for name in ("en", "zh", "asked"))
    assert (english["language"], chinese["language"], asked["language"]) == ("en", "zh", "en")
    assert "pairs" not in asked and "lengths" not in asked
    pairs = english["pairs"]
    assert (pairs["texts"], pairs["with_pair"], pairs["unique"]) == (4, 3, 2)  # each text once
    assert pairs["counts"] == [["have", "impact", 2], ["save", "money", 1]]
    assert (pairs["sunburst"], pairs["all_above"]) == ({}, [])
    assert pairs["parser"]["method"] == "dependency tree"
    lengths = english["lengths"]
    assert (lengths["texts"], lengths["beyond_bins"], lengths["most"]) == (5, 1, 600)
    assert (sum(lengths["bins"]["counts"]), len(lengths["bins"]["counts"])) == (4, 99)
    assert lengths["percentiles"]["p50"] == 8
    assert chinese["lengths"]["most"] == 14  # characters without their full stop
    assert {"parts of speech"} == {chinese["pairs"]["parser"]["method"].partition(":")[0]}
    assert found["side_by_side"] == [
        {"en": ["have", "impact", 2], "zh": ["使用", "公式", 1]},
        {"en": ["save", "money", 1], "zh": ["学习", "编程语言", 1]},
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["en", "en", "5", "4", "0"]
    assert "  1  have impact 2           使用 公式 1" in lines


def test_the_settings_of_the_paper_are_there(files: Path) -> None:
    paper = ["pairs.descent=first_child", "length_unit=whitespace", "language=en"]
    few = ["pairs.sunburst.above=1", "pairs.rows=1"]
    assert main(["metric=texts", "files={en: en.json, zh: zh.json}", *paper, *few]) == 0
    found = result()
    pairs = found["sets"]["en"]["pairs"]
    assert pairs["counts"] == [["have", "impact", 2]] == pairs["all_above"]
    assert pairs["sunburst"] == {"have": {"impact": 2}}
    assert found["sets"]["zh"]["lengths"]["most"] == 1
    assert len(found["side_by_side"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["files={}"], "files is empty"),
        (["files={a: nowhere.json}"], "nowhere.json does not exist"),
        (["files={a: en.json}", "output=en.json"], "output=en.json is read as well"),
        (["files={a: en.json}", "language=fr"], "language=fr is not one of"),
        (["files={a: en.json}", "pairs.descent=last"], "pairs.descent=last is not one of"),
        (["files={a: en.json}", "pairs.models.en=en_core_web_lg"], "no pipeline of spaCy"),
        (["files={a: en.json}", "pairs.rows=0"], "pairs.rows=0 must be positive"),
    ],
)
def test_bad_input_is_one_line(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["metric=texts", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path("texts.json").exists()
