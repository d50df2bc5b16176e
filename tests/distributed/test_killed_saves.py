"""Whole runs of which a process is killed in the middle of a save, or whose disk is full: the last
good checkpoint is found and the run goes on from there as if nothing had been, bit for bit. Every
point of a save: tests/llama_gpt4/test_publication.py."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from ..command import CLI, ENVIRONMENT, FAST, metrics, train

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

KILLED = Path(__file__).parent / "killed"
STEPS = ("train.steps=12", "train.save_every_steps=3")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    train(run_dir, *STEPS)
    return run_dir


@pytest.fixture(scope="module")
def three_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("three") / "run"
    train(run_dir, "train.steps=3")
    return run_dir


def command(run_dir: Path) -> list[str]:
    return [*CLI, "train", *FAST, f"run_dir={run_dir}", "launch.processes=2", *STEPS]


def goes_on(run_dir: Path, undisturbed: Path) -> str:
    """The same command ends as the undisturbed run did, with nothing left; what it prints."""
    done = subprocess.run(
        command(run_dir), capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    losses = [line["loss"] for line in metrics(undisturbed)]
    assert [line["loss"] for line in metrics(run_dir)] == losses
    weights = "model/model.safetensors"
    assert (run_dir / weights).read_bytes() == (undisturbed / weights).read_bytes()
    assert os.listdir(run_dir / "checkpoints") == ["step-12"]
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "rank, victim, kind, step, left",
    [
        (1, "rank", "write", 3, "step-6.partial"),
        (0, "rank", "rename", 3, "step-6.partial"),
        (0, "rank", "rmdir", 9, "step-6.partial"),  # the end of its removal
        (0, "launcher", "rename", None, None),
    ],
)
def test_a_process_is_killed_in_a_save(
    undisturbed: Path,
    three_steps: Path,
    tmp_path: Path,
    rank: int,
    victim: str,
    kind: str,
    step: int | None,
    left: str | None,
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(three_steps, run_dir)
    environment = {
        **ENVIRONMENT,
        "PYTHONPATH": str(KILLED),
        "KILL": f"{rank}:{victim}:{kind}:{run_dir}/checkpoints/step-6",
    }
    with subprocess.Popen(
        command(run_dir), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as killed:
        output = killed.communicate(timeout=300)[0].decode()  # all processes have closed it
    assert killed.returncode == (1 if victim == "rank" else -9), output
    names = set(os.listdir(run_dir / "checkpoints"))
    said = goes_on(run_dir, undisturbed)
    if step is not None:
        assert f"resuming after step {step}" in said
        assert left in names
        log = (run_dir / "logs" / "rank-0.log").read_text()
        assert log.count(f"{left}: it was not written to its end; it is removed") == 1
    else:  # the ranks hear of it, finish that save and make another
        assert not any(name.endswith(".partial") for name in names), output


def test_a_full_disk_ends_the_run_in_one_line(
    undisturbed: Path, three_steps: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(three_steps, run_dir)
    before = (run_dir / "checkpoints" / "step-3" / "rank-00001.safetensors").read_bytes()
    too_little = len(before) // 2
    done = subprocess.run(
        command(run_dir),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (too_little, too_little)),
    )
    assert done.returncode == 2, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("llama-gpt4 ")]
    assert len(said) == 1 and "checkpoints/step-6 cannot be written: File too large" in said[0]
    assert os.listdir(run_dir / "checkpoints") == ["step-3"]
    assert (run_dir / "checkpoints" / "step-3" / "rank-00001.safetensors").read_bytes() == before
    assert "resuming after step 3" in goes_on(run_dir, undisturbed)
