"""Trials share the devices of a host, with real processes."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_gpt4_launch.sweep_config import SweepConfig, SweepProgram
from llama_gpt4_launch.sweep_pool import Pool
from llama_gpt4_launch.sweep_trial import Status, Trial

from llama_gpt4.compose import compose
from llama_gpt4.errors import ExitCode, InputError, Preempted
from llama_gpt4.program import SIGNALS

from .trials import hosts_by, trains_by, trial


@pytest.fixture(autouse=True)
def handlers_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def settings(*overrides: str) -> SweepConfig:
    return compose(SweepProgram, "sweep", overrides).sweep


def run(trials: list[Trial], *overrides: str) -> list[tuple[str, Status]]:
    """What `on_change` hears."""
    heard: list[tuple[str, Status]] = []
    pool = Pool(settings(*overrides))
    counts = pool.processes([trial.config for trial in trials])
    assert counts == [trial.processes for trial in trials]
    pool.run(trials, lambda trial: heard.append((trial.name, trial.status)))
    return heard


def gpus(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))


def sized(folder: Path, name: str, n: int = 1) -> Trial:
    return trial(folder, name, n, f"launch.processes={n}")


def test_trials_take_devices_of_their_own_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by(
        monkeypatch,
        "began = time.time()\n"
        "meet('0', '1')\n"
        "json.dump([began, time.time(), os.environ['CUDA_VISIBLE_DEVICES'].split(',')],"
        " open(config['run_dir'] + '/took', 'w'))",
    )
    trials = [sized(tmp_path, f"n={n}", size) for n, size in enumerate([2, 1, 3, 1, 2])]
    gpus(monkeypatch, "4", "5", "GPU-c")
    run(trials)
    took = [json.loads((t.run_dir / "took").read_text()) for t in trials]
    assert [len(devices) for _, _, devices in took] == [2, 1, 3, 1, 2]
    for began, _, devices in took:
        others = [d for b, e, d in took if b <= began < e and d is not devices]
        assert not set(devices) & {name for other in others for name in other}
    assert all(t.status is Status.DONE for t in trials)


def test_one_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains_by(monkeypatch, "sys.exit('n=1' in config['run_dir'])")
    trials = [sized(tmp_path, f"n={n}") for n in range(3)]
    gpus(monkeypatch, "0")
    heard = run(trials)
    assert [t.status for t in trials] == [Status.DONE, Status.FAILED, Status.DONE]
    assert heard[:2] == [("n=0", Status.RUNNING), ("n=0", Status.DONE)]


def test_what_is_over_does_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains_by(monkeypatch, "write(1, 4.0)")
    trials = [sized(tmp_path, f"n={n}") for n in range(2)]
    trials[0].status = Status.DONE
    gpus(monkeypatch, "0")
    assert [name for name, _ in run(trials)] == ["n=1", "n=1"]


def test_who_is_behind_the_median_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by(
        monkeypatch,
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "loss = float(config['run_dir'][-1])\n"
        "write(1, 9.0); write(2, loss)\n"
        "if loss == 8: time.sleep(600)",
    )
    trials = [sized(tmp_path, f"n={n}") for n in (1, 2, 3, 8)]
    began = time.monotonic()
    gpus(monkeypatch, "0")
    run(trials, "sweep.median_after_steps=2")
    assert time.monotonic() - began < 60
    assert [t.status for t in trials] == [Status.DONE] * 3 + [Status.BEHIND]
    assert trials[3].message == "behind the median of the others at step 2"


@pytest.mark.parametrize(
    "number, error", [(signal.SIGTERM, Preempted), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_goes_to_all_and_nothing_starts_after_it(
    number: int, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by(
        monkeypatch,
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(1))\n"
        "write(1, 4.0); time.sleep(60)",
    )
    trials = [sized(tmp_path, f"n={n}") for n in range(3)]

    def send() -> None:
        while not all((t.run_dir / "metrics.jsonl").exists() for t in trials[:2]):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()
    gpus(monkeypatch, "0", "1")
    with pytest.raises(error):
        run(trials)
    expected = Status.PREEMPTED if number == signal.SIGTERM else Status.FAILED
    assert [t.status for t in trials] == [expected, expected, Status.WAITING]


TELLS = (
    "spent = dict(a.split('=', 1) for a in sys.argv[1:-2] if '=' in a)\n"
    "text = open(spent['hostfile'].strip(\"'\")).read()\n"
    "json.dump([text, os.environ.get('CUDA_VISIBLE_DEVICES'), spent],"
    " open(config['run_dir'] + '/took', 'w'))\n"
)
"""What a trial on other hosts is told: its hostfile, its devices, and the keys of its launcher."""


def told(trial: Trial) -> tuple[str, str | None, dict[str, str]]:
    text, devices, keys = json.loads((trial.run_dir / "took").read_text())
    return text, devices, keys


def test_trials_are_packed_on_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostfile = hosts_by(monkeypatch, tmp_path, "one slots=2", "two slots=4")
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    trains_by(monkeypatch, TELLS + "meet('1', '2')")
    trials = [sized(tmp_path, f"n={n}", size) for n, size in enumerate([4, 1, 1, 6])]
    run(trials, f"sweep.hostfile={hostfile}")
    assert [t.status for t in trials] == [Status.DONE] * 4
    assert told(trials[0])[:2] == ("two slots=4\n", "0,1,2,3")
    assert {told(t)[:2] for t in trials[1:3]} == {("one slots=1\n", "0"), ("one slots=1\n", "1")}
    text, devices, keys = told(trials[3])
    assert sorted(text.splitlines()) == ["one slots=2", "two slots=4"]
    assert devices is None, "whole hosts take all that they have"
    assert keys["environment.variables"] == "[NCCL_DEBUG]"
    assert told(trials[0])[2]["environment.variables"] == "[NCCL_DEBUG,CUDA_VISIBLE_DEVICES]"
    assert len({told(t)[2]["master_port"] for t in trials}) == 4


def test_a_lost_host_takes_no_other_trial_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostfile = hosts_by(monkeypatch, tmp_path, "one slots=1", "two slots=1")
    trains_by(
        monkeypatch,
        TELLS + "time.sleep(0.3)\n"
        f"if text.startswith('two'): open('{tmp_path}/two.lost', 'w'); sys.exit(1)",
    )
    trials = [sized(tmp_path, f"n={n}") for n in range(4)] + [sized(tmp_path, "both", 2)]
    run(trials, f"sweep.hostfile={hostfile}")
    statuses = [t.status for t in trials]
    assert sorted(statuses[:4]) == [Status.DONE] * 3 + [Status.FAILED]
    assert (trials[4].status, trials[4].message, trials[4].code) == (
        Status.FAILED,
        "no host is left for it",
        ExitCode.BUG,
    )
    said = capsys.readouterr().err
    assert said == "two cannot be reached (no route to two): no trial goes there any more\n"


def test_what_the_hosts_cannot_take_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostfile = hosts_by(monkeypatch, tmp_path, "one slots=2", "two slots=4")
    pool = Pool(settings(f"sweep.hostfile={hostfile}"))
    nothing_said = trial(tmp_path, "n=1").config
    assert pool.processes([nothing_said]) == [2], "what every host has"
    with pytest.raises(InputError, match=r"launch\.processes=5 fits no host of .*: they have 2, 4"):
        pool.processes([sized(tmp_path, "n=5", 5).config])
    (tmp_path / "two.lost").touch()
    with pytest.raises(InputError, match="two cannot be reached"):
        Pool(settings(f"sweep.hostfile={hostfile}"))


def test_an_orphan_on_another_host_may_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its launcher is killed; a rank there hears of it by the run directory, and its slot is free
    when it has said goodbye."""
    hostfile = hosts_by(monkeypatch, tmp_path, "one slots=1")
    rank = (
        "import os, sys, time; from pathlib import Path\n"
        "alive = Path(sys.argv[1], '.alive'); alive.mkdir(); rank = alive / 'rank-0'\n"
        "rank.write_text('one 1')\n"
        "while not (alive / 'stop').exists(): time.sleep(0.05)\n"
        "time.sleep(0.5); (alive.parent / 'saved').touch(); rank.write_text('one ended')"
    )
    trains_by(
        monkeypatch,
        f"subprocess.Popen([sys.executable, '-c', {rank!r}, config['run_dir']],"
        " start_new_session=True)\n"
        "while not os.path.exists(config['run_dir'] + '/.alive/rank-0'): time.sleep(0.05)\n"
        "os.kill(os.getpid(), signal.SIGKILL)",
    )
    left = sized(tmp_path, "n=1")
    run([left], f"sweep.hostfile={hostfile}")
    assert (left.run_dir / "saved").exists()
    assert left.message == "its launcher was ended by SIGKILL"
