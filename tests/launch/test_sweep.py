"""`llama-gpt4 train -m` through Hydra; the training of a trial is a few lines of Python here, the
real one is in tests/e2e."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from llama_gpt4_launch import local, sweep
from llama_gpt4_launch.sweep import Line, trial_name

from llama_gpt4.program import SIGNALS

from .trials import trains_by

LOSS = "write(1, 9.0); write(2, config['optim']['lr'] * 100)"
CPU = ("launch.device=cpu", "launch.processes=1", "sweep.devices=2")


@pytest.fixture(autouse=True)
def handlers_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def summaries(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Sweeps that Weights & Biases was to have a summary of, which takes seconds a time."""
    found: list[Path] = []
    monkeypatch.setattr(sweep, "summarise", lambda folder: found.append(folder) or "summary")
    return found


def run(folder: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of a sweep and its table."""
    try:
        code = local.main(["-m", f'sweep.dir="{folder}"', *CPU, *words])
    except SystemExit as end:
        code = int(end.code or 0)
    table = folder / "sweep.json"
    return code, json.loads(table.read_text()) if table.exists() else []


def test_hydra_makes_the_trials_and_our_launcher_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trains_by(monkeypatch, LOSS)
    words = ["optim.lr=0.01,0.02", "model.n_layers=1,2", "seed=7", "name=mine"]
    code, table = run(tmp_path / "it's, here", *words)
    assert code == 0
    assert [row["name"] for row in table] == [
        "optim.lr=0.01,model.n_layers=1",
        "optim.lr=0.01,model.n_layers=2",
        "optim.lr=0.02,model.n_layers=1",
        "optim.lr=0.02,model.n_layers=2",
    ], "ranked by loss, and only what is swept is in the names"
    assert [row["value"] for row in table] == [1, 1, 2, 2]
    assert table[0]["run_dir"] == f"{tmp_path}/it's, here/{table[0]['name']}"
    frozen = (Path(table[3]["run_dir"]) / "config.yaml").read_text()
    assert "n_layers: 2" in frozen and "seed: 7" in frozen and "lr: 0.02" in frozen
    assert "group: it's, here" in frozen, "the runs are one group in Weights & Biases"
    out = capsys.readouterr().out
    assert "best: optim.lr=0.01,model.n_layers=1" in out
    assert "group it's, here" in out


def test_the_next_start_tries_again_only_what_is_not_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    summaries: list[Path],
) -> None:
    trains_by(monkeypatch, "sys.exit(75) if config['optim']['lr'] == 0.02 else write(2, 3.0)")
    code, table = run(tmp_path / "s", "optim.lr=0.01,0.02")
    assert code == 75, "nothing is wrong with what is left"
    assert [row["status"] for row in table] == ["done", "preempted"]
    assert summaries == [], "it is not at its end"
    trains_by(monkeypatch, "write(3, 2.0)")
    capsys.readouterr()
    code, table = run(tmp_path / "s", "optim.lr=0.01,0.02")
    assert code == 0
    assert [(row["value"], row["name"]) for row in table] == [
        (2.0, "optim.lr=0.02"),
        (3.0, "optim.lr=0.01"),
    ]
    out = capsys.readouterr().out
    assert "optim.lr=0.01: done already" in out
    assert "optim.lr=0.01: starts" not in out
    assert summaries == [tmp_path / "s"]


@pytest.mark.parametrize("left, code", [({2}, 2), ({2, 75}, 1)])
def test_the_exit_code_says_what_is_left(
    left: set[int], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = dict(zip((1, 2), sorted(left), strict=False))
    trains_by(monkeypatch, f"write(1, 1.0); sys.exit({codes!r}.get(config['seed'], 0))")
    assert run(tmp_path / "s", "seed=1,2")[0] == code


def test_a_longer_training_of_the_same_trials_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by(monkeypatch, "write(config['train']['steps'], 1.0)")
    run(tmp_path / "s", "seed=1,2", "train.steps=5")
    _, table = run(tmp_path / "s", "seed=1,2", "train.steps=9")
    assert [row["step"] for row in table] == [9, 9]


def test_another_base_is_refused_in_the_same_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trains_by(monkeypatch, "write(1, 1.0)")
    run(tmp_path / "s", "optim.lr=0.01,0.02")
    before = sorted(tmp_path.rglob("*"))
    code, table = run(tmp_path / "s", "optim.lr=0.01,0.02", "schedule.kind=linear")
    assert code == 2
    assert "schedule.kind: cosine there, linear here" in capsys.readouterr().err
    assert [row["status"] for row in table] == ["done", "done"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words, message",
    [
        (["optim.lrr=1,2"], "optim.lrr is not a key of this program; did you mean optim.lr?"),
        (["optim.lr=0.1,abc"], "optim.lr: "),
        (["optim.lr=0.1,-1"], "optim.lr=-1.0 must be positive"),
        (["model=tiny,tinny"], "tinny"),
        (["optim.lr=[1,"], "cannot read the override 'optim.lr=[1,'"),
        (["sweep.device=1"], "sweep.device is not a key of this program"),
        (["run_dir=here", "seed=1,2"], "run_dir follows from sweep.dir"),
        (["hydra.sweep.dir=here", "seed=1,2"], "hydra.sweep.dir follows from sweep.dir"),
        (["--cfg", "seed=1,2"], "--cfg is for a single run"),
        (["sweep.devices=null", "sweep.hostfile=/nowhere/hosts"], "/nowhere/hosts cannot be read"),
        (["launch.processes=1,3"], "launch.processes=3 is more than the 2 devices"),
        (["batch.tokens_per_step=2048,2049"], "batch.tokens_per_step=2049 is not a multiple"),
        (["optim.lr=interval(0.1,0.2)"], "does not support sweep type"),
        (["hydra.sweeper.n_trials=3", "seed=1,2"], "hydra.sweeper.n_trials"),
        (["hydra/launcher=basic", "seed=1,2"], "leave hydra/launcher out"),
        (["seed=1,2", "launch.device=cuda"], "launch.device=cuda, but this host shows no GPUs"),
        (["model=from_path", "model.path=/nowhere/a,/nowhere/b"], "/nowhere/a"),
    ],
)
def test_a_bad_line_is_one_line_and_leaves_nothing(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    trains_by(monkeypatch, "write(1, 1.0)")
    assert run(tmp_path / "s", *words) == (2, [])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("llama-gpt4 train: ") and message in line
    assert os.listdir(tmp_path) == []


def test_two_starts_of_one_sweep_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trains_by(monkeypatch, "write(1, 1.0)")
    handle = sweep.hold(tmp_path / "s")
    assert run(tmp_path / "s", "seed=1,2")[0] == 2
    assert "in use" in capsys.readouterr().err
    os.close(handle)


def test_the_same_line_finds_its_sweep_again() -> None:
    line = ["optim.lr=1e-5,2e-5", "seed=1"]
    again = ["seed=1", "sweep.devices=1", "-m", "hydra.sweeper.max_batch_size=1", *line[:1]]
    assert Line(line).hash == Line(again).hash
    assert Line(line).hash != Line([*line, "train.steps=3"]).hash


def test_a_named_sweep_is_part_of_the_line() -> None:
    named = Line(["sweep=learning_rate"])
    assert named.overrides == ["optim.lr=5e-6,1e-5,2e-5,4e-5"]
    assert named.hash == Line(["optim.lr=5e-6,1e-5,2e-5,4e-5"]).hash
    assert Line(["sweep=learning_rate", "optim.lr=1,2"]).hash == Line(["optim.lr=1,2"]).hash


def test_chinese_needs_no_quotes() -> None:
    line = Line(["name=一,二"])
    assert line.overrides == ['name="一","二"']


@pytest.mark.parametrize(
    "swept, name",
    [
        ({"optim.lr": "1e-05", "model": "tiny"}, "optim.lr=1e-05,model=tiny"),
        ({"optim.betas": "[0.9,0.95]"}, "optim.betas=_0.9,0.95_-"),
        ({"model.path": "/a/b"}, "model.path=_a_b-"),
        ({"name": "x" * 300}, "name=" + "x" * 95 + "-"),
        ({}, "single"),
    ],
)
def test_names_are_folders(swept: dict[str, str], name: str) -> None:
    made = trial_name(swept)
    assert made == name if name[-1] != "-" else made.startswith(name) and len(made) < 120


def test_names_that_read_alike_differ() -> None:
    assert trial_name({"model.path": "a/b"}) != trial_name({"model.path": "a_b"})


def test_help_says_what_the_keys_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert local.main(["-m", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("llama-gpt4 train -m [key=value …]\n")
    assert "sweep.hang_seconds: float | null\n" in out


def test_optuna_learns_from_the_losses_and_survives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    trains_by(monkeypatch, "sys.exit(1) if config['optim']['lr'] > 1 else " + LOSS)
    words = ["optim.lr=choice(0.01,2,0.02)", "hydra/sweeper=optuna", "hydra/sweeper/sampler=grid"]
    code, table = run(tmp_path / "s", *words)
    assert code == 1
    assert [row["status"] for row in table] == ["done", "done", "failed"]
    found = yaml.safe_load((tmp_path / "s" / "optimization_results.yaml").read_text())
    assert (found["best_params"], found["best_value"]) == ({"optim.lr": 0.01}, 1.0)
