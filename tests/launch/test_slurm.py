"""The batch script: what is asked of Slurm, and that no secret is in it."""

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from llama_gpt4_launch import slurm

from llama_gpt4.errors import InputError

from .places import only, place, require_golden, training

NODES = ("nodes=2", "processes_per_node=8")
ALL = (
    *("partition=gpu", "account=nlp", "qos=high", "time='24:00:00'", "warn_seconds=600"),
    "setup=['module load cuda','source /etc/profile.d/site.sh']",
    *("container_image=/images/llama.sqsh", "container_mounts=['/shared:/shared']"),
    *("sbatch_options=['--exclusive','--constraint=h100']", "python=/opt/venv/bin/python"),
    "environment.variables=['NCCL_DEBUG=INFO','NCCL_IB_HCA=mlx5_0, mlx5_1',HF_HOME]",
    "environment.secrets=[WANDB_API_KEY]",
)


TRIALS = slurm.Job(
    name="sweep-5eed",
    folder=Path("/shared/runs/sweep-5eed"),
    run_dirs=["/shared/runs/sweep-5eed/optim.lr=1e-05", "/shared/runs/sweep-5eed/it's 2e-5"],
    is_array=True,
    needs_gpus=True,
)


@pytest.mark.parametrize(
    "name, options, job",
    [
        ("slurm", (), None),
        ("slurm_all", ALL, None),
        ("slurm_array", ("array_limit=4",), TRIALS),
    ],
)
def test_the_script(
    name: str,
    options: tuple[str, ...],
    job: slurm.Job | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    only(monkeypatch, WANDB_API_KEY="s3cr3t")
    text = slurm.script(place("slurm", *NODES, *options), job or slurm.job_of(training()))
    assert "s3cr3t" not in text
    (tmp_path / "script").write_text(text)
    subprocess.run(["bash", "-n", tmp_path / "script"], check=True)
    require_golden(f"launch_{name}.sbatch", text)


def test_without_gpus_none_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    asked = place("slurm", *NODES)
    assert "--gpus-per-node" not in slurm.script(asked, slurm.job_of(training("launch.device=cpu")))


def test_names_with_white_space_stay_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    job = replace(TRIALS, name="my sweep", folder=Path("/shared/my runs"))
    text = slurm.script(place("slurm", *NODES), job)
    options = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    words = [shlex.split(option)[1:] for option in (line.removeprefix("#") for line in options)]
    assert all(len(option) == 1 for option in words)
    assert ["--job-name=my sweep"] in words
    assert ["--output=/shared/my runs/logs/slurm-%A_%a.out"] in words


@pytest.mark.parametrize(
    "key, line",
    [
        ("nodes=0", "nodes=0 must be positive"),
        ("processes_per_node=0", "processes_per_node=0 must be positive"),
        ("array_limit=0", "array_limit=0 must be positive"),
        ("warn_seconds=-1", "warn_seconds=-1 is negative"),
        ("container_mounts=['/a:/b']", "container_mounts is given without container_image"),
        ("sbatch_options=[exclusive]", "'exclusive' is not an option"),
    ],
)
def test_what_cannot_be_is_one_line(key: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        place("slurm", *NODES, key)


def test_without_sbatch_it_says_where_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="no sbatch on this machine"):
        slurm.check(place("slurm", *NODES))
