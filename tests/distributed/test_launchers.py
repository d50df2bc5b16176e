"""Every way to start a training comes to the same: one run directory, one configuration, one log a
rank, the same losses; and every way it may end leaves one line, one code and no process behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from llama_gpt4_launch.local import GRACE_SECONDS

from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import load_resolved
from llama_gpt4.program import hold

from ..command import CLI, ENVIRONMENT, FAST, metrics, run

pytestmark = pytest.mark.distributed

BIN = Path(sys.executable).parent
STEPS = "train.steps=4"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def ours() -> list[str]:
    return [*CLI, "train", "launch.processes=2"]


def deepspeed(*options: str) -> list[str]:
    launcher = [str(BIN / "deepspeed"), "--num_accelerators", "2", "--master_port", free_port()]
    return [*launcher, *options, "--module", "llama_gpt4.train"]


def deepspeed_without_local_rank() -> list[str]:
    return deepspeed("--no_local_rank")


def torchrun() -> list[str]:
    launcher = [str(BIN / "torchrun"), "--nproc-per-node", "2", "--master-port", free_port()]
    return [*launcher, "-m", "llama_gpt4.train"]


def error_lines(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """What our programs said about the end; launchers add words of their own."""
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line.startswith("llama-gpt4 ")]


def exit_code(run_dir: Path) -> int:
    return json.loads((run_dir / "exit.json").read_text())["code"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    done = run([*ours(), *FAST, STEPS, f"run_dir={run_dir}"])
    assert done.returncode == 0, done.stdout + done.stderr
    return run_dir


@pytest.mark.parametrize("launcher", [deepspeed, torchrun])
def test_each_launcher_makes_the_same_run(
    launcher: Callable[[], list[str]], finished: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    done = run([*launcher(), *FAST, STEPS, f"run_dir={run_dir}"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert os.listdir(tmp_path) == ["run"]
    assert sorted(os.listdir(run_dir / "logs")) == ["rank-0.log", "rank-1.log"]
    assert sorted(os.listdir(run_dir)) == sorted(os.listdir(finished))
    assert exit_code(run_dir) == 0
    losses = [line["loss"] for line in metrics(run_dir)]
    assert losses == [line["loss"] for line in metrics(finished)] and len(losses) == 4
    mine, theirs = load_resolved(run_dir / "config.yaml"), load_resolved(finished / "config.yaml")
    assert mine.optim == theirs.optim and mine.data == theirs.data
    # What the data came to, and what is trained, is said once.
    assert done.stdout.count("230 records read") == 1
    assert done.stdout.count(" parameters, vocabulary ") == 1
    assert "real_accelerator" not in done.stdout.split("parameters, vocabulary")[-1]


def test_our_launcher_shows_what_is_ours_only(finished: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    done = run([*ours(), *FAST, "train.steps=5", f"run_dir={run_dir}"])
    starts = ("train: ", "vocabulary: ", "tokens: ", "tiny: ", "loss ", "run directory ", "model ")
    foreign = [line for line in done.stdout.splitlines() if not line.startswith(starts)]
    assert not foreign
    assert "resuming after step 4" in done.stdout
    bar = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
    assert all(line.startswith("tiny: ") for line in bar), done.stderr


@pytest.mark.parametrize("launcher", [ours, deepspeed, torchrun])
def test_a_wrong_key_is_one_line_and_leaves_nothing(
    launcher: Callable[[], list[str]], tmp_path: Path
) -> None:
    done = run([*launcher(), *FAST, "optim.lrr=1", f"run_dir={tmp_path}/run"])
    assert done.returncode == (2 if launcher is not torchrun else 1), done.stderr
    assert error_lines(done) == [
        "llama-gpt4 train: optim.lrr is not a key of this program; did you mean optim.lr?"
    ]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("launcher", [ours, deepspeed_without_local_rank])
def test_bad_input_that_the_processes_find_together_is_said_once(
    launcher: Callable[[], list[str]], finished: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    manifest = run_dir / "checkpoints" / "step-4" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["state"]["data_fingerprint"] = "other"
    manifest.write_text(json.dumps(content))
    done = run([*launcher(), *FAST, "train.steps=6", f"run_dir={run_dir}"])
    assert done.returncode == 2, done.stderr
    [line] = error_lines(done)
    assert "was trained on other data" in line
    assert exit_code(run_dir) == 2


def test_without_a_launcher_it_is_one_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "llama_gpt4.train", *FAST, f"run_dir={tmp_path}/run"]
    done = run([*command, "train.steps=1"])
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path / "run" / "logs") == ["rank-0.log"]
    assert "1 x cpu" in done.stdout


class Run:
    """A training that goes on until somebody ends it."""

    def __init__(self, run_dir: Path, command: list[str], *overrides: str) -> None:
        self.run_dir = run_dir
        arguments = [*FAST, f"run_dir={run_dir}", "train.steps=5000", "schedule.steps=5000"]
        self.process = subprocess.Popen(
            [*command, *arguments, *overrides],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < until, "it did not come so far"
            time.sleep(0.05)

    def has_steps(self) -> bool:
        return (self.run_dir / "metrics.jsonl").exists() and len(metrics(self.run_dir)) >= 2

    def ranks(self) -> dict[int, int]:
        """Process ids by rank."""
        found = {}
        for pid in members(self.process.pid):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            rank = next((e[5:] for e in environment if e.startswith(b"RANK=")), None)
            if rank is not None and parent(pid) == self.process.pid:
                found[int(rank)] = pid
        assert sorted(found) == [0, 1]
        return found

    def ends(self, seconds: float) -> tuple[int, list[str]]:
        """Its code and our lines about the end; no process of it is left."""
        self.output = self.process.communicate(timeout=seconds)[0]
        assert members(self.process.pid) == []
        lines = self.output.replace("\r", "\n").splitlines()
        return self.process.returncode, [line for line in lines if line.startswith("llama-gpt4 ")]


def wait_until_free(run_dir: Path, seconds: float = 10) -> None:
    """Nobody has it any more; the last threads of a process outlive its end by a moment."""
    until = time.monotonic() + seconds
    while True:
        try:
            return os.close(hold(run_dir))
        except InputError:
            assert time.monotonic() < until
            time.sleep(0.1)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def members(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.name))
    return found


def refuse_a_second(command: list[str], job: Run) -> None:
    """Another start in the directory of a living run is turned away and disturbs nothing."""
    arguments = [*FAST, f"run_dir={job.run_dir}", "train.steps=5000", "schedule.steps=5000"]
    done = run([*command, *arguments])
    assert done.returncode == 2, done.stderr
    [line] = error_lines(done)
    assert "is in use by a run that has not ended" in line
    assert job.process.poll() is None
    assert not (job.run_dir / "exit.json").exists()


def test_a_killed_rank_ends_the_job_and_is_named(tmp_path: Path) -> None:
    job = Run(tmp_path / "run", ours())
    job.wait_until(job.has_steps)
    refuse_a_second([sys.executable, "-m", "llama_gpt4.train"], job)
    os.kill(job.ranks()[1], signal.SIGKILL)
    code, lines = job.ends(GRACE_SECONDS + 10)
    assert code == 1
    assert lines == [
        "llama-gpt4 train: process 1 of 2 was ended by SIGKILL (is the host out of memory?)"
    ]
    assert "Traceback" not in job.output
    assert exit_code(tmp_path / "run") == 1


def test_torchrun_holds_the_directory_and_passes_the_signal_on(tmp_path: Path) -> None:
    job = Run(tmp_path / "run", torchrun())
    job.wait_until(job.has_steps)
    refuse_a_second(ours(), job)
    job.process.send_signal(signal.SIGTERM)
    code, _ = job.ends(GRACE_SECONDS + 40)
    assert code != 0 and exit_code(tmp_path / "run") == 75
    wait_until_free(job.run_dir)


def test_a_killed_launcher_takes_its_processes_along(tmp_path: Path) -> None:
    job = Run(tmp_path / "run", ours())
    job.wait_until(job.has_steps)
    job.process.kill()
    code, _ = job.ends(60)
    assert code == -signal.SIGKILL
    assert exit_code(tmp_path / "run") == 75
    assert (tmp_path / "run" / "checkpoints" / f"step-{metrics(job.run_dir)[-1]['step']}").exists()
    wait_until_free(job.run_dir)


def test_ctrl_c_ends_all_without_traces(tmp_path: Path) -> None:
    job = Run(tmp_path / "run", ours())
    job.wait_until(job.has_steps)
    os.killpg(job.process.pid, signal.SIGINT)  # as a terminal does
    code, lines = job.ends(GRACE_SECONDS + 10)
    assert code == 1
    assert lines == ["llama-gpt4 train: interrupted"]
    assert "Traceback" not in job.output
    assert exit_code(tmp_path / "run") == 1


def many_records(path: Path) -> str:
    """Data whose preparation takes a while."""
    records = [
        {"instruction": f"Count to {n}.", "input": "", "output": " ".join(map(str, range(n % 90)))}
        for n in range(1, 60_000)
    ]
    path.write_text(json.dumps(records))
    return f"data.files=[{path}]"


def test_sigterm_while_data_are_prepared(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    data = many_records(tmp_path / "records.json")
    job = Run(tmp_path / "run", ours(), data, f"data.cache_dir={cache}")
    job.wait_until(lambda: any(cache.glob("*.tmp/tokenizer")))
    job.process.send_signal(signal.SIGTERM)
    code, lines = job.ends(60)
    assert code == 75
    assert lines == ["llama-gpt4 train: asked to stop; there was nothing to save yet"]
    assert exit_code(tmp_path / "run") == 75
    assert not list(cache.glob("*.tmp")) and not (tmp_path / "run" / "logs").exists()


def test_sigterm_while_the_processes_start(tmp_path: Path) -> None:
    job = Run(tmp_path / "run", ours())
    job.wait_until(lambda: (tmp_path / "run" / "logs" / "rank-0.log").exists())
    job.process.send_signal(signal.SIGTERM)
    code, lines = job.ends(60)
    assert code == 75
    assert len(lines) <= 1
    assert exit_code(tmp_path / "run") == 75
