"""`llama-gpt4 evaluate metric=reward` on a model that transformers wrote, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from llama_gpt4_data.comparisons import read_comparisons
from llama_gpt4_data.reward_writer import rendered
from llama_gpt4_data.score import rewards
from pyarrow import parquet

from llama_gpt4.evaluate import main

from .ranking import write_reward_model
from .reward_runs import bench, many, write


@pytest.fixture(scope="module")
def model(opt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reward_model(opt, tmp_path_factory.mktemp("reward") / "model")


def evaluate(model: Path, file: object, output: Path) -> int:
    words = ["metric=reward", f"model={model}", f"files=[{file}]", f"output_dir={output}"]
    return main(words)


def test_a_benchmark_in_parquet_is_judged_by_the_models_rewards(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = bench({"alpacaeval-easy": 3, "hep-go": 4})
    records[0]["rejected"] = "far too long " * 400
    file = tmp_path / "filtered.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(records), file)
    assert evaluate(model, file, tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "7 comparisons read, 6 used" in shown and "1 for their length" in shown
    found = json.loads((tmp_path / "out" / "reward_report.json").read_text())
    read = read_comparisons([str(file)])[1:]
    texts = [[c.responses[place].text for c in read] for place in (0, 1)]
    better, worse = (np.array(rewards(model, [*map(rendered, read)], own)) for own in texts)
    right = (1 + np.sign(better - worse)) / 2
    assert found["overall"]["accuracy"]["value"] == pytest.approx(right.mean())
    subsets = {row["name"]: row["accuracy"]["value"] for row in found["by"]["subset"]}
    expected = {"alpacaeval-easy": right[:2].mean(), "hep-go": right[2:].mean()}
    assert subsets == {name: pytest.approx(value) for name, value in expected.items()}
    assert (tmp_path / "out" / "reward_report.png").exists()


def test_scores_give_margins(model: Path, tmp_path: Path) -> None:
    assert evaluate(model, write(tmp_path, many(6)), tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "reward_report.json").read_text())
    assert found["by"]["margin"] and found["spearman"]["pooled"]["low"] >= -1


@pytest.mark.parametrize(
    "file, words",
    [
        ("nowhere.json", "nowhere.json does not exist"),
        ("sample:en", "sample:en record 0 is no comparison"),
    ],
)
def test_bad_files_are_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, words: str
) -> None:
    assert evaluate(model, file, tmp_path / "out") == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("llama-gpt4 evaluate metric=reward: ") and words in said
    assert not (tmp_path / "out").exists()


def test_a_language_model_is_refused(
    opt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(opt, write(tmp_path, many(2)), tmp_path / "out") == 2
    assert "is no reward model" in capsys.readouterr().err


def test_a_run_directory_holds_the_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(model.parent, write(tmp_path, many(2)), tmp_path / "out") == 2
    assert f"is a run directory: name {model}" in capsys.readouterr().err


def test_all_responses_may_be_too_long(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"prompt": "Why? " * 300, "chosen": "So.", "rejected": "No."}
    assert evaluate(model, write(tmp_path, [record]), tmp_path / "out") == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.endswith(f"all 2 responses are longer than the 256 positions of {model}")


def test_help_lists_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metric=reward", "--help"]) == 0
    assert "output_dir" in capsys.readouterr().out
