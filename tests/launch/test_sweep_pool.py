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
from llama_gpt4_launch.sweep_pool import Pool, pool_devices
from llama_gpt4_launch.sweep_trial import Status, Trial

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError, Preempted
from llama_gpt4.program import SIGNALS

from .trials import trains_by, trial


@pytest.fixture(autouse=True)
def handlers_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def settings(*overrides: str) -> SweepConfig:
    return compose(SweepProgram, "sweep", overrides).sweep


def run(trials: list[Trial], devices: list[str], *overrides: str) -> list[tuple[str, Status]]:
    """What `on_change` hears."""
    heard: list[tuple[str, Status]] = []
    pool = Pool(settings(*overrides), lambda trial: heard.append((trial.name, trial.status)))
    pool.run(trials, devices, is_gpu=True)
    return heard


def test_trials_take_devices_of_their_own_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by(
        monkeypatch,
        "began = time.time(); time.sleep(0.5)\n"
        "json.dump([began, time.time(), os.environ['CUDA_VISIBLE_DEVICES'].split(',')],"
        " open(config['run_dir'] + '/took', 'w'))",
    )
    trials = [trial(tmp_path, f"n={n}", size) for n, size in enumerate([2, 1, 3, 1, 2])]
    run(trials, ["4", "5", "GPU-c"])
    took = [json.loads((t.run_dir / "took").read_text()) for t in trials]
    assert [len(devices) for _, _, devices in took] == [2, 1, 3, 1, 2]
    for began, _, devices in took:
        others = [d for b, e, d in took if b <= began < e and d is not devices]
        assert not set(devices) & {name for other in others for name in other}
    assert took[1][0] < took[0][1], "the first two fit side by side"
    assert all(t.status is Status.DONE for t in trials)


def test_one_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains_by(monkeypatch, "sys.exit('n=1' in config['run_dir'])")
    trials = [trial(tmp_path, f"n={n}") for n in range(3)]
    heard = run(trials, ["0"])
    assert [t.status for t in trials] == [Status.DONE, Status.FAILED, Status.DONE]
    assert heard[:2] == [("n=0", Status.RUNNING), ("n=0", Status.DONE)]


def test_what_is_over_does_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains_by(monkeypatch, "write(1, 4.0)")
    trials = [trial(tmp_path, f"n={n}") for n in range(2)]
    trials[0].status = Status.DONE
    assert [name for name, _ in run(trials, ["0"])] == ["n=1", "n=1"]


def test_who_is_behind_the_median_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by(
        monkeypatch,
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "loss = float(config['run_dir'][-1])\n"
        "write(1, 9.0); write(2, loss)\n"
        "if loss == 8: time.sleep(60)",
    )
    trials = [trial(tmp_path, f"n={n}") for n in (1, 2, 3, 8)]
    began = time.monotonic()
    run(trials, ["0"], "sweep.median_after_steps=2")
    assert time.monotonic() - began < 30
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
    trials = [trial(tmp_path, f"n={n}") for n in range(3)]

    def send() -> None:
        while not all((t.run_dir / "metrics.jsonl").exists() for t in trials[:2]):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()
    with pytest.raises(error):
        run(trials, ["0", "1"])
    expected = Status.PREEMPTED if number == signal.SIGTERM else Status.FAILED
    assert [t.status for t in trials] == [expected, expected, Status.WAITING]


def test_devices_are_the_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-b,5")
    assert pool_devices(None, use_gpus=True) == (["2", "GPU-b", "5"], True)
    assert pool_devices(2, use_gpus=True) == (["2", "GPU-b"], True)
    assert pool_devices(2, use_gpus=False) == (["0", "1"], False)
    with pytest.raises(InputError, match=r"sweep\.devices=4, but this host shows 3 GPUs"):
        pool_devices(4, use_gpus=True)


def test_without_gpus_they_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cores = len(os.sched_getaffinity(0))
    assert pool_devices(None, use_gpus=True) == ([str(n) for n in range(cores)], False)
