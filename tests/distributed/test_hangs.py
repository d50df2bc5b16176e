"""A rank that hangs is named, with its step, its phase and its stack, and the job ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..command import ENVIRONMENT, FAST
from .test_launchers import Run, ours

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

HANG = "launch.hang_seconds=8"


def test_a_rank_that_sleeps_is_named_with_its_stack(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    command = ["--nproc-per-node", "4", "--master-port", "0", "-m"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", *command,
         "tests.distributed.sleeping_worker", "2", *FAST, HANG, "train.steps=5",
         f"run_dir={run_dir}"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode != 0
    [line] = [text for text in done.stderr.splitlines() if text.startswith("llama-gpt4 ")]
    assert "nothing has moved for 8 s (launch.hang_seconds): rank 2 on " in line
    assert "(step 3, waiting for data) stands, while the others wait in gloo:" in line
    assert line.endswith("the same command resumes from the last checkpoint")
    assert done.stderr.count("time.sleep(3600)") == 1, "the stack of that rank, once"
    report = (run_dir / "hang.txt").read_text()
    assert all(f"\nrank {rank} on " in report for rank in range(4))
    assert report.count("time.sleep(3600)") == 1
    assert json.loads((run_dir / "exit.json").read_text())["code"] == 1


def test_a_process_that_is_stopped_is_named(tmp_path: Path) -> None:
    job = Run(tmp_path / "run", ours(), HANG)
    job.wait_until(job.has_steps)
    stopped = job.ranks()[1]
    os.kill(stopped, signal.SIGSTOP)
    code, lines = job.ends(120)
    assert code == 1
    [line] = lines
    assert "no sign of life comes from rank 1 on " in line
    assert "torch" in (tmp_path / "run" / "hang.txt").read_text(), "what rank 0 was waiting in"
