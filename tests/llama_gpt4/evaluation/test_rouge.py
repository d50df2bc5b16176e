"""`evaluate metric=rouge` from files to a table and a file of results."""

import json
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.evaluate import main
from llama_gpt4.rouge import mixed, rouge
from llama_gpt4.statistics import RESAMPLES

REFERENCES = [
    "yes",
    "a very short one",
    "the cat sat on the mat in the old house",
    "请解释人工智能是什么",
]
GOOD = ["yes, it is", "a short one", "a cat sat on a mat in that house", "请描述人工智能是什么"]
BAD = ["no", "", "dogs", "好"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, texts in (("refs", REFERENCES), ("good", GOOD), ("bad", BAD)):
        records = [
            {"instruction": f"Say {n}.", "input": "", "output": text}
            for n, text in enumerate(texts)
        ]
        Path(f"{name}.json").write_text(json.dumps(records), "utf-8")
    return tmp_path


def evaluate(*more: str) -> int:
    return main(["metric=rouge", "references=refs.json", *more])


def result(name: str = "rouge.json") -> dict[str, Any]:
    return json.loads(Path(name).read_text("utf-8"))


def test_models_stand_in_one_table(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("answers={good: good.json, bad: bad.json}", "baseline=bad") == 0
    shown = capsys.readouterr().out
    assert [line.split()[:3] for line in shown.splitlines()[1:9]] == [
        [name, n, model]
        for name, n in (("0-2", "1"), ("3-5", "1"), ("6-10", "2"), ("ALL", "4"))
        for model in ("good", "bad")
    ]
    assert "ALL, ROUGE-L of good minus bad: 0." in shown and "bad minus" not in shown
    assert "each Chinese, Japanese or Korean character is a token" in shown
    found = result()
    buckets = {bucket["name"]: bucket for bucket in found["buckets"]}
    assert buckets["10-"] == {"name": "10-", "from": 11, "to": None, "questions": 0, "means": {}}
    assert (found["questions"], found["resamples"], found["stemming"]) == (4, RESAMPLES, False)
    scores = [rouge(a, b, mixed) for a, b in zip(REFERENCES, GOOD, strict=True)]
    mean = buckets["ALL"]["means"]["good"]["rougeL"]
    assert mean["mean"] == pytest.approx(sum(score.rouge_l.f for score in scores) / 4)
    assert mean["low"] < mean["bootstrap_median"] < mean["high"]
    apart = buckets["ALL"]["minus_baseline"]
    assert apart["good"]["rougeL"]["low"] > 0 == apart["bad"]["rougeL"]["mean"]
    assert found["empty_answers"] == {"good": 0, "bad": 1}


def test_chinese_scores_zero_by_latin_tokens_and_the_report_says_so(files: Path) -> None:
    assert evaluate("answers={good: good.json}", "tokenizer=latin", "length_unit=whitespace") == 0
    found = result()
    assert "Chinese has none" in found["tokenizer"] and "in Chinese as in" in found["length_unit"]
    sizes = {bucket["name"]: bucket["questions"] for bucket in found["buckets"]}
    assert sizes == {"0-2": 2, "3-5": 1, "6-10": 1, "10-": 0, "ALL": 4}


def test_answers_that_slipped_are_noticed(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = json.loads(Path("refs.json").read_text("utf-8"))
    texts = [record["output"] for record in records]
    for record, text in zip(records, texts[1:] + texts[:1], strict=True):
        record["output"] = text
    Path("slipped.json").write_text(json.dumps(records), "utf-8")
    assert evaluate("answers={slipped: slipped.json}") == 0
    assert "are ids and answers of the file still together?" in caplog.text
    assert result()["rougeL_of_next_reference"]["slipped"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["answers={}"], "answers is empty"),
        (["answers={a: good.json}", "baseline=b"], "baseline=b is not one of a"),
        (
            ["answers={a: good.json}", "tokenizer=words"],
            "tokenizer=words is not one of latin, mixed",
        ),
        (["answers={a: refs.json}", "output=refs.json"], "output=refs.json is read as well"),
        (["answers={a: none.json}"], "none.json does not exist"),
        (["answers={a: good.json}", "refernces=x"], "did you mean references?"),
    ],
)
def test_bad_input_is_one_line(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert evaluate(*arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path("rouge.json").exists()
