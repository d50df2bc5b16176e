"""Trials as tasks of a job array, with programs in the place of Slurm's; the real ones are in
tests/cluster."""

import json
import os
from pathlib import Path

import pytest
from llama_gpt4_launch import launch, sweep_slurm

from ..command import FAST
from .test_sweep import handlers_put_back  # noqa: F401

SBATCH = 'cp "${!#}" $FOLDER/submitted; echo 7'
SQUEUE = "cat $FOLDER/queue"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the queue is a file, and so is what was submitted last."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in {"sbatch": SBATCH, "squeue": SQUEUE}.items():
        (programs / name).write_text(f"#!/bin/bash\nFOLDER={tmp_path}\n{line}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "queue").touch()
    # That takes seconds a time; tests/cluster has it.
    monkeypatch.setattr(sweep_slurm, "prepare_run", lambda config, report: os.dup(0))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def run(folder: Path, *words: str, options: tuple[str, ...] = ()) -> int:
    place = ["slurm", "nodes=1", "processes_per_node=1", *options]
    own = [f"sweep.dir={folder / 'sweep'}", f"data.cache_dir={folder / 'cache'}"]
    return launch.main([*place, "--", "-m", *FAST, *own, *words])


def submitted(folder: Path) -> list[str]:
    """The trials of the last array."""
    script = (folder / "submitted").read_text()
    trials = script.partition("run_dirs=(\n")[2].partition("\n)")[0].splitlines()
    return [Path(line.strip()).name for line in trials]


def ends(folder: Path, name: str, code: int, message: str = "done") -> None:
    """What a trial leaves behind."""
    run_dir = folder / "sweep" / name
    (run_dir / "metrics.jsonl").write_text('{"step": 2, "loss": 3.5}\n')
    (run_dir / "exit.json").write_text(json.dumps({"code": code, "message": message}))


def test_the_same_line_submits_what_is_neither_done_nor_queued(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cluster, "seed=1,2,3") == 0
    assert submitted(cluster) == ["seed=1", "seed=2", "seed=3"]
    assert "job 7: 3 trials" in capsys.readouterr().out
    (cluster / "submitted").unlink()

    (cluster / "queue").write_text("7_0 RUNNING\n7_1 PENDING\n7_2 COMPLETING\nN/A RUNNING\n")
    assert run(cluster, "seed=1,2,3") == 0
    assert not (cluster / "submitted").exists()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("running", "waiting"))] == [
        "running", "running", "waiting",
    ]  # fmt: skip

    (cluster / "queue").write_text("7_1 PENDING\n")
    ends(cluster, "seed=1", 0)
    ends(cluster, "seed=3", 1, "the loss is not finite")
    assert run(cluster, "seed=1,2,3", options=("--print",)) == 0
    out = capsys.readouterr().out
    assert out.startswith("#!/bin/bash\n"), "it can be handed to sbatch"
    assert "# seed=3: the loss is not finite\n" in out and "#SBATCH --array=0-0\n" in out
    assert run(cluster, "seed=1,2,3") == 0
    assert submitted(cluster) == ["seed=3"]
    assert "seed=1: done already" in capsys.readouterr().out
    (cluster / "submitted").unlink()

    (cluster / "queue").write_text("")
    ends(cluster, "seed=2", 0)
    ends(cluster, "seed=3", 0)
    assert run(cluster, "seed=1,2,3") == 0
    assert not (cluster / "submitted").exists()
    assert "best: seed=1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["sweep.devices=2", "seed=1,2"], "sweep.devices=2 is for trials that `llama-gpt4 train"),
        (["sweep.median_after_steps=2", "seed=1,2"], "sweep.median_after_steps=2 is for trials"),
        (["hydra/sweeper=optuna", "seed=1,2"], "Slurm gets all at once"),
        (["seed=1,two"], "seed: "),
        (["data.files=[/nowhere.json]", "seed=1,2"], "/nowhere.json"),
    ],
)
def test_a_bad_line_submits_nothing(
    words: list[str], message: str, cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cluster, *words) == 2
    assert message in capsys.readouterr().err
    assert not (cluster / "submitted").exists() and not (cluster / "sweep").exists()


def test_print_leaves_nothing_and_needs_no_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert run(tmp_path, "seed=1,2", options=("--print",)) == 0
    assert f"\n  {tmp_path}/sweep/seed=2\n" in capsys.readouterr().out
    assert os.listdir(tmp_path) == []
