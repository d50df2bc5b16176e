"""Processes of one host: how many, what they are told, and that they live and die together."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_gpt4_launch import local
from llama_gpt4_launch.local import Processes, process_count

from llama_gpt4.compose import compose_training
from llama_gpt4.config import LaunchConfig
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.program import SIGNALS, ExitReport, hold


@pytest.fixture(autouse=True)
def handlers_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def report(tmp_path: Path) -> ExitReport:
    found = ExitReport()
    found.run_dir = tmp_path
    return found


def run(processes: Processes, tmp_path: Path, *codes: str) -> ExitCode:
    """Python programs, started together."""
    commands = [[sys.executable, "-c", code] for code in codes]
    lock = hold(tmp_path / "held")
    try:
        return processes.run(commands, [dict(os.environ)] * len(codes), lock)
    finally:
        os.close(lock)


def launch(processes: int | None, device: str) -> LaunchConfig:
    return LaunchConfig(processes=processes, device=device, timeout_minutes=1, hang_seconds=60)


@pytest.mark.parametrize(
    "visible, wanted, device, n",
    [
        ("0,1,2", None, "auto", 3),
        ("0,1,2", None, "cuda", 3),
        ("0,1,2", 2, "cuda", 2),
        ("0,1,2", None, "cpu", 1),
        ("", None, "auto", 1),
        ("-1", None, "auto", 1),
        ("", 4, "auto", 4),
        ("GPU-1a,GPU-2b", None, "auto", 2),
    ],
)
def test_as_many_processes_as_gpus(
    visible: str, wanted: int | None, device: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert process_count(launch(wanted, device)) == n


@pytest.mark.parametrize("visible, wanted", [("", None), ("", 1), ("0,1", 3)])
def test_more_processes_than_gpus(
    visible: str, wanted: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(InputError, match=r"launch\.device=cuda, but this host shows (no|2) GPUs"):
        process_count(launch(wanted, "cuda"))


def test_each_process_knows_its_place(report: ExitReport, tmp_path: Path) -> None:
    code = (
        "import os, json; from pathlib import Path; "
        f"Path({str(tmp_path)!r}, os.environ['RANK']).write_text(json.dumps(dict(os.environ)))"
    )
    commands = [[sys.executable, "-c", code]] * 2
    environments = local._environments(2)
    assert Processes(report, "train").run(commands, environments, hold(tmp_path / "held")) == 0
    first, second = (json.loads((tmp_path / rank).read_text()) for rank in ("0", "1"))
    assert (first["LOCAL_RANK"], second["LOCAL_RANK"]) == ("0", "1")
    for key in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        assert first[key] == second[key]
    assert first["WORLD_SIZE"] == "2"


@pytest.mark.parametrize(
    "codes, worst",
    [((0, 0), 0), ((0, 2), 2), ((1, 2), 2), ((75, 1), 75), ((1, 0), 1), ((7, 0), 1)],
)
def test_the_code_that_tells_most_counts(
    codes: tuple[int, int], worst: int, report: ExitReport, tmp_path: Path
) -> None:
    programs = [f"raise SystemExit({code})" for code in codes]
    assert run(Processes(report, "train"), tmp_path, *programs) == worst


def test_the_rest_is_ended_when_one_has_failed(
    report: ExitReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.4)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    began = time.monotonic()
    assert (
        run(
            Processes(report, "train"),
            tmp_path,
            "raise SystemExit(1)",
            deaf,
            "import time; time.sleep(600)",
        )
        == 1
    )
    assert time.monotonic() - began < 60


def test_a_killed_process_is_named(
    report: ExitReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(Processes(report, "train"), tmp_path, "", "import os; os.kill(os.getpid(), 9)")
    assert code == 1
    lines = capsys.readouterr().err.split()
    assert "process 1 of 2 was ended by SIGKILL" in " ".join(lines)
    assert json.loads((tmp_path / "exit.json").read_text())["code"] == 1


def later(seconds: float, number: int, times: int = 1) -> None:
    def send() -> None:
        for _ in range(times):
            time.sleep(seconds)
            os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


def test_a_signal_goes_to_all(report: ExitReport, tmp_path: Path) -> None:
    listens = (
        "import signal, sys, time; "
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); time.sleep(60)"
    )
    processes = Processes(report, "train")
    later(1.0, signal.SIGTERM)
    assert run(processes, tmp_path, listens, listens) == 75
    assert run(processes, tmp_path, "raise SystemExit(0)") == 75, "nothing starts after it"


def test_those_that_cannot_listen_yet_count_as_preempted(
    report: ExitReport, tmp_path: Path
) -> None:
    later(0.5, signal.SIGTERM)
    processes = Processes(report, "train")
    code = run(processes, tmp_path, "import time; time.sleep(60)")
    assert code == 75
    assert processes.last_words(code) == "asked to stop; there was nothing to save yet"


def test_a_second_ctrl_c_ends_those_that_do_not_listen(report: ExitReport, tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
    later(0.7, signal.SIGINT, times=2)
    began = time.monotonic()
    processes = Processes(report, "train")
    code = run(processes, tmp_path, deaf)
    assert code == 1 and processes.last_words(code) == "interrupted"
    assert time.monotonic() - began < 60


def test_processes_hold_the_run_directory_when_their_parent_does_not(
    report: ExitReport, tmp_path: Path
) -> None:
    handle = hold(tmp_path / "run")
    processes = Processes(report, "train")
    seen: list[str] = []

    def try_to_hold() -> None:
        time.sleep(1)
        os.close(handle)
        try:
            hold(tmp_path / "run")
        except InputError as error:
            seen.append(str(error))

    thread = threading.Thread(target=try_to_hold)
    thread.start()
    commands = [[sys.executable, "-c", "import time; time.sleep(2)"]]
    processes.run(commands, [dict(os.environ)], handle)
    thread.join()
    assert "in use" in seen[0]
    os.close(hold(tmp_path / "run"))


def test_a_contradiction_is_found_before_anything_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contradiction = "+zero.deepspeed.gradient_clipping=5.0"
    assert local.main([f"run_dir={tmp_path}/run", "launch.device=cpu", contradiction]) == 2
    assert "gradient_clipping=5.0 contradicts 1.0" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_refused_start_leaves_another_runs_end_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    handle = hold(run_dir)
    (run_dir / "exit.json").write_text("{}")
    assert compose_training([f"run_dir={run_dir}"]).run_dir == str(run_dir)
    assert local.main([f"run_dir={run_dir}"]) == 2
    assert "in use" in capsys.readouterr().err
    assert (run_dir / "exit.json").read_text() == "{}"
    os.close(handle)
