"""The tables and the plot of a sweep."""

import csv
import json
import sys
from pathlib import Path

import pytest
from llama_gpt4_launch import sweep_report
from llama_gpt4_launch.sweep_report import plot, ranked, summarise, table, write_tables
from llama_gpt4_launch.sweep_trial import Status, Trial

from llama_gpt4.compose import compose_training


@pytest.fixture
def trials(tmp_path: Path) -> list[Trial]:
    def made(rate: str, status: Status, losses: list[float], message: str = "") -> Trial:
        trial = Trial(
            name=f"optim.lr={rate}",
            swept={"optim.lr": rate},
            config=compose_training([f"run_dir='{tmp_path}/optim.lr={rate}'"]),
            processes=1,
            status=status,
            message=message,
            seconds=12.34,
        )
        trial.curve.values = dict(enumerate(losses, 1))
        return trial

    return [
        made("0.1", Status.FAILED, [], "the loss, at last, is not finite"),
        made("0.02", Status.DONE, [5.0, 3.25]),
        made("0.01", Status.DONE, [5.0, 3.125]),
        made("0.001", Status.BEHIND, [5.0], "behind the median"),
    ]


def test_the_best_comes_first(trials: list[Trial]) -> None:
    rates = [trial.swept["optim.lr"] for trial in ranked(trials)]
    assert rates == ["0.01", "0.02", "0.001", "0.1"]


def test_the_table_on_the_terminal(trials: list[Trial]) -> None:
    assert table(trials).splitlines() == [
        "status  loss    step  seconds  optim.lr",
        "done    3.1250  2     12       0.01",
        "done    3.2500  2     12       0.02",
        "behind  5.0000  1     12       0.001",
        "failed          0     12       0.1",
        "optim.lr=0.001: behind the median",
        "optim.lr=0.1: the loss, at last, is not finite",
    ]


def test_the_same_in_files(trials: list[Trial], tmp_path: Path) -> None:
    write_tables(tmp_path, trials)
    best = json.loads((tmp_path / "sweep.json").read_text())[0]
    assert best == {
        "name": "optim.lr=0.01",
        "swept": {"optim.lr": "0.01"},
        "status": "done",
        "metric": "loss",
        "value": 3.125,
        "step": 2,
        "seconds": 12.3,
        "run_dir": f"{tmp_path}/optim.lr=0.01",
        "message": "",
    }
    with open(tmp_path / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["optim.lr"] for row in rows] == ["0.01", "0.02", "0.001", "0.1"]
    assert rows[0]["value"] == "3.125"
    assert rows[3]["message"] == "the loss, at last, is not finite"
    assert not list(tmp_path.glob("*.partial"))


def test_the_plot_is_a_picture(trials: list[Trial], tmp_path: Path) -> None:
    assert plot(tmp_path, trials) == f"plot {tmp_path}/sweep.png"
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    "code, seconds, line",
    [
        ("", 60.0, "summary in Weights & Biases: "),
        ("raise OSError", 60.0, "no summary in Weights & Biases: see "),
        ("import time; time.sleep(60)", 0.5, "no summary in Weights & Biases within 0 s: see "),
    ],
)
def test_a_summary_is_waited_for_a_bounded_time_and_never_fails(
    code: str, seconds: float, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setattr(sweep_report, "SUMMARY_SECONDS", seconds)
    assert summarise(tmp_path).startswith(line)
