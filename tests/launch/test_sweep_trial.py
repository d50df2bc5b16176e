"""What becomes of one trial, with real processes."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from llama_gpt4_launch import sweep_trial
from llama_gpt4_launch.hostfile import Host
from llama_gpt4_launch.sweep_slots import Slot
from llama_gpt4_launch.sweep_trial import Status, Trial, TrialProcess

from .trials import hosts_by, trains_by, trial

HERE = Slot(None, None)


def run(folder: Path, hang_seconds: float | None = None) -> TrialProcess:
    """A trial from its start to its end."""
    process = TrialProcess(trial(folder), [HERE], [], dict(os.environ))
    wait(process, hang_seconds)
    return process


def wait(process: TrialProcess, hang_seconds: float | None = None) -> None:
    end = time.monotonic() + 30
    while not process.has_ended(hang_seconds):
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def processes_of(group: int) -> list[str]:
    """Commands of a process group's members that are alive."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, group_of = folder.joinpath("stat").read_text().rpartition(") ")[2].split()[:3]
            if int(group_of) == group and state != "Z":
                found.append(folder.joinpath("cmdline").read_text())
        except OSError:  # it has ended meanwhile
            continue
    return found


@pytest.mark.parametrize(
    "code, status, exit_code, message",
    [
        ("write(1, 4.0); write(2, 3.0)", Status.DONE, 0, ""),
        (
            "print('a\\nllama-gpt4 train: optim.lr is too high\\nllama-gpt4 train: later');"
            "sys.exit(2)",
            Status.FAILED,
            2,
            "optim.lr is too high",
        ),
        ("sys.exit(1)", Status.FAILED, 1, "ended with code 1"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            Status.FAILED,
            1,
            "its launcher was ended by SIGKILL",
        ),
        (
            "sys.stderr.write('llama-gpt4 train: saved step 3\\n'); sys.exit(75)",
            Status.PREEMPTED,
            75,
            "saved step 3",
        ),
    ],
)
def test_how_a_trial_may_end(
    code: str,
    status: Status,
    exit_code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trains_by(monkeypatch, code)
    ended = run(tmp_path).trial
    assert (ended.status, ended.code, ended.message) == (status, exit_code, message)
    assert ended.curve.last == (3.0 if status is Status.DONE else None)


def test_what_an_earlier_start_said_is_not_this_ones_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by(monkeypatch, "print('llama-gpt4 train: first'); sys.exit(2)")
    run(tmp_path)
    trains_by(monkeypatch, "print('llama-gpt4 train: second'); sys.exit(2)")
    assert run(tmp_path).trial.message == "second"


def test_the_end_is_recalled_for_the_same_training_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by(monkeypatch, "write(1, 4.0)")
    assert not trial(tmp_path).recall()
    seconds = run(tmp_path).trial.seconds
    again = trial(tmp_path)
    assert again.recall()
    assert (again.status, again.curve.last, again.seconds) == (Status.DONE, 4.0, seconds)
    elsewhere = trial(tmp_path, "optim.lr=0.1", 1, "launch.device=cpu", "tracking=none")
    assert elsewhere.recall(), "where it runs makes no other training of it"
    assert not trial(tmp_path, "optim.lr=0.1", 1, "train.steps=7").recall()
    assert not trial(tmp_path, "optim.lr=0.1", 1, "train.dry=true").recall()


def test_what_has_failed_is_not_recalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains_by(monkeypatch, "sys.exit(1)")
    run(tmp_path)
    assert not trial(tmp_path).recall()


def test_a_trial_that_nobody_led_has_said_itself_how_it_ended(tmp_path: Path) -> None:
    """As under Slurm, or where a sweep was killed just before it could write that down."""

    def ended(code: int, message: str) -> tuple[bool, Trial]:
        words = json.dumps({"code": code, "message": message})
        (tmp_path / "optim.lr=0.1" / "exit.json").write_text(words)
        found = Trial(name="n", swept={}, config=one.config, processes=1)
        return found.recall(), found

    one = trial(tmp_path)
    (one.run_dir / "metrics.jsonl").write_text('{"step": 1, "loss": 4.0}\n')
    is_over, found = ended(0, "done")
    assert (is_over, found.status, found.message, found.curve.last) == (True, "done", "", 4.0)
    is_over, found = ended(75, "saved step 1")
    assert (is_over, found.status, found.message) == (False, "preempted", "saved step 1")
    is_over, found = ended(1, "not finite")
    assert (is_over, found.status, found.message) == (False, "failed", "not finite")
    ended(0, "done")
    longer = replace(one.config, train=replace(one.config.train, steps=7))
    assert not Trial(name="n", swept={}, config=longer, processes=1).recall()
    one.freeze()
    assert not one.recall(), "it begins anew"


def test_a_hung_trial_is_ended_with_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_trial, "SAVE_SECONDS", 0.5)
    trains_by(
        monkeypatch,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "write(1, 4.0); time.sleep(60)",
    )
    process = run(tmp_path, hang_seconds=1)
    ended = process.trial
    assert ended.status is Status.HUNG
    assert ended.message == "no line of metrics for 1 s (sweep.hang_seconds)"
    assert ended.curve.last == 4.0
    assert processes_of(process._leader.pid) == []


def test_a_trial_that_goes_on_is_not_hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains_by(monkeypatch, "[(write(n, 1.0), time.sleep(0.3)) for n in range(1, 9)]")
    assert run(tmp_path, hang_seconds=1.5).trial.status is Status.DONE


def test_processes_whose_launcher_was_killed_may_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank = (
        "import signal, sys, time, pathlib\n"
        "def save(*_):\n"
        "    time.sleep(0.5); pathlib.Path(sys.argv[1], 'saved').touch(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "pathlib.Path(sys.argv[1], 'ready').touch(); time.sleep(60)"
    )
    trains_by(
        monkeypatch,
        f"subprocess.Popen([sys.executable, '-c', {rank!r}, config['run_dir']]); time.sleep(60)",
    )
    process = TrialProcess(trial(tmp_path), [HERE], [], dict(os.environ))
    wait_for(process.trial.run_dir / "ready")
    process.send(signal.SIGKILL)
    wait(process)
    assert (process.trial.run_dir / "saved").exists(), "its devices are free only now"
    assert process.trial.message == "its launcher was ended by SIGKILL"


def test_one_that_is_stopped_saves_and_keeps_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by(
        monkeypatch,
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); write(1, 4.0); time.sleep(60)",
    )
    process = TrialProcess(trial(tmp_path), [HERE], [], dict(os.environ))
    wait_for(process.trial.run_dir / "metrics.jsonl")
    process.stop(Status.BEHIND, "behind")
    process.stop(Status.HUNG, "the first word counts")
    wait(process)
    assert (process.trial.status, process.trial.message) == (Status.BEHIND, "behind")
    assert trial(tmp_path).recall()


def test_a_trial_that_is_over_is_measured_at_its_end(tmp_path: Path) -> None:
    made = trial(tmp_path)
    made.curve.values = {1: 5.0, 2: 4.0, 3: 3.0}
    assert made.lowest_by(2) == 4.0
    assert made.lowest_by(9) is None, "it is not there yet"
    made.status = Status.BEHIND
    assert made.lowest_by(9) == 3.0


def test_a_hung_trial_is_killed_on_its_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_trial, "SAVE_SECONDS", 0.5)
    hosts_by(monkeypatch, tmp_path, "one slots=1")
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    trains_by(
        monkeypatch,
        f"there = subprocess.Popen([sys.executable, '-c', {deaf!r}, *sys.argv[-2:]],"
        " start_new_session=True)\n"
        "open(config['run_dir'] + '/pid', 'w').write(str(there.pid))\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "write(1, 4.0); time.sleep(60)",
    )
    process = TrialProcess(trial(tmp_path), [Slot(Host("one", 1), "0")], [], dict(os.environ))
    wait_for(process.trial.run_dir / "metrics.jsonl")
    wait(process, hang_seconds=0.5)
    assert process.trial.status is Status.HUNG
    assert (process.trial.run_dir / ".alive" / "stop").exists(), "it was asked before"
    assert processes_of(int((process.trial.run_dir / "pid").read_text())) == []
