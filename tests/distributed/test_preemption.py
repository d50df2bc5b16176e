"""Whoever of four processes, launcher or parent hears it, in whatever phase: all save one step, end
with 75, and the next start goes on there; `run_dir/save` saves without an end."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llama_gpt4.publication import saved_steps

from ..command import CLI, ENVIRONMENT, FAST, metrics, run
from .test_launchers import BIN, exit_code, free_port, members, parent
from .test_soak import ranks_of

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

STEPS = 60
BUSY = ("train.eval_every_steps=1", "train.save_every_steps=1", "data.validation.share=0.05")
"""Each step is followed by an evaluation and a save, so that a signal may come in any of them."""


def arguments(run_dir: Path) -> list[str]:
    return [*FAST, *BUSY, f"run_dir={run_dir}", f"train.steps={STEPS}"]


def ours(run_dir: Path) -> list[str]:
    return [*CLI, "train", "launch.processes=4", *arguments(run_dir)]


def deepspeed(run_dir: Path) -> list[str]:
    launcher = [str(BIN / "deepspeed"), "--num_accelerators", "4", "--master_port", free_port()]
    return [*launcher, "--module", "llama_gpt4.train", *arguments(run_dir)]


def to_a_rank(process: "subprocess.Popen[str]", number: int) -> None:
    os.kill(random.Random(number).choice(ranks_of(process.pid)), number)


def to_the_parent(process: "subprocess.Popen[str]", number: int) -> None:
    process.send_signal(number)


def to_its_child(process: "subprocess.Popen[str]", number: int) -> None:
    """To DeepSpeed's own launcher, which ends its ranks one after the other."""
    [child] = [pid for pid in members(process.pid) if parent(pid) == process.pid]
    os.kill(child, number)


CASES = [
    (ours, to_a_rank, signal.SIGTERM),
    (ours, to_a_rank, signal.SIGUSR1),
    (ours, to_the_parent, signal.SIGUSR1),
    (deepspeed, to_the_parent, signal.SIGTERM),
    (deepspeed, to_its_child, signal.SIGTERM),
]


def test_all_save_one_step_and_the_next_start_goes_on_there(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    chance = random.Random(1)
    last = 0
    for command, send, number in CASES:
        before = last
        process = subprocess.Popen(
            command(run_dir), env=ENVIRONMENT, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        wait_for(process, lambda: max(saved_steps(run_dir), default=0) > before)  # noqa: B023
        time.sleep(chance.random() / 4)
        send(process, number)
        output = process.communicate(timeout=240)[0]
        wait_until(lambda: members(process.pid) == [])  # noqa: B023
        assert exit_code(run_dir) == 75, output
        assert command is deepspeed or process.returncode == 75, output
        [said] = re.findall(r"saved step (\d+); the same command resumes there", output)
        resumed = re.findall(r"resuming after step (\d+)", output)
        assert resumed == ([str(last)] if last else [])
        assert saved_steps(run_dir)[-1] == metrics(run_dir)[-1]["step"] == int(said) > last
        last = int(said)
    done = run(ours(run_dir))
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in metrics(run_dir)] == list(range(1, STEPS + 1))
    calm = run(ours(tmp_path / "calm"))
    assert calm.returncode == 0, calm.stderr
    weights = "model/model.safetensors"
    assert (run_dir / weights).read_bytes() == (tmp_path / "calm" / weights).read_bytes()


def test_a_file_asks_for_a_checkpoint_and_training_goes_on(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = subprocess.Popen(
        [*CLI, "train", "launch.processes=2", *FAST, f"run_dir={run_dir}", "train.steps=5000",
         "schedule.steps=5000"],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_for(process, lambda: (run_dir / "metrics.jsonl").exists() and metrics(run_dir) != [])
    assert saved_steps(run_dir) == []
    (run_dir / "save").touch()
    wait_for(process, lambda: saved_steps(run_dir) != [])
    assert not (run_dir / "save").exists()
    [saved] = saved_steps(run_dir)
    wait_for(process, lambda: metrics(run_dir)[-1]["step"] > saved + 2)
    assert saved_steps(run_dir) == [saved], "once"
    process.terminate()
    process.communicate(timeout=240)


def wait_for(process: "subprocess.Popen[str]", condition: Callable[[], bool]) -> None:
    """While it runs."""

    def holds() -> bool:
        assert process.poll() is None, process.communicate()[0]
        return condition()

    wait_until(holds)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < until, "it did not come so far"
        time.sleep(0.02)
