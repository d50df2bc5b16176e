"""Weights & Biases beside a run: offline unless somebody is logged in, the same run after a
restart, and never a reason to wait or to fail."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4 import tracker as tracker_module
from llama_gpt4.compose import compose_training, freeze
from llama_gpt4.tracker import CLOSE_SECONDS, Tracker, follow

from ..command import CLI, ENVIRONMENT, FAST, metrics

DEAD_SERVER = "http://127.0.0.1:9"


def test_lines_are_followed_as_they_come(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    old = '{"step": 1}\n'
    file.write_text(old)
    ended = threading.Event()
    lines = follow(file, len(old), ended)
    with open(file, "a") as pen:
        pen.write('{"step": 2}\n{"ste')
    assert next(lines) == {"step": 2}
    with open(file, "a") as pen:
        pen.write('p": 3}\n')
    ended.set()
    assert list(lines) == [{"step": 3}]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run directory as it is when the training begins."""
    freeze(compose_training([f"run_dir={tmp_path}/run", "tracking.group=together"]))
    (tmp_path / "run" / "logs").mkdir()
    (tmp_path / "run" / "metrics.jsonl").touch()
    return tmp_path / "run"


@pytest.fixture
def nobody_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def write(run_dir: Path, *steps: int) -> None:
    with open(run_dir / "metrics.jsonl", "a") as file:
        for step in steps:
            file.write(json.dumps({"step": step, "loss": 1 / step}) + "\n")


def offline_records(file: Path) -> Iterator[Any]:
    """The records of an offline run: a header of 7 bytes, then blocks of 32 KiB in LevelDB's log
    format."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, whole = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # the whole record, or its last part
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def tracked(run_dir: Path) -> tuple[set[str], str, dict[int, float]]:
    """Ids, group and losses by step of all offline runs below `run_dir`."""
    ids, group, losses = set(), "", {}
    for file in sorted(run_dir.glob("wandb/offline-run-*/run-*.wandb")):
        for record in offline_records(file):
            if record.HasField("run"):
                ids.add(record.run.run_id)
                group = record.run.run_group
            if record.HasField("history"):
                row = {item.key or item.nested_key[0]: item for item in record.history.item}
                step = json.loads(row["_step"].value_json)
                losses[step] = json.loads(row["loss"].value_json)
    return ids, group, losses


@pytest.mark.e2e
@pytest.mark.usefixtures("nobody_logged_in")
def test_offline_with_the_same_id_after_a_restart(run_dir: Path) -> None:
    tracker = Tracker(run_dir)
    write(run_dir, 1, 2)
    tracker.close()
    again = Tracker(run_dir)
    write(run_dir, 3)
    again.close()
    ids, group, losses = tracked(run_dir)
    assert losses == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3)}
    assert ids == {(run_dir / "wandb_id").read_text()}
    assert group == "together"


@pytest.mark.e2e
@pytest.mark.usefixtures("nobody_logged_in")
def test_it_ends_with_its_trainer(run_dir: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from llama_gpt4.tracker import Tracker; "
        "tracker = Tracker(Path(sys.argv[1])); print(tracker._process.pid, flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    write(run_dir, 1)
    trainer = subprocess.run([sys.executable, "-c", code, str(run_dir)], stdout=subprocess.PIPE)
    process = Path(f"/proc/{int(trainer.stdout)}")
    until = time.monotonic() + CLOSE_SECONDS + 10
    while is_alive(process) and time.monotonic() < until:
        time.sleep(0.1)
    assert not is_alive(process)


def is_alive(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.e2e
def test_a_dead_server_neither_stops_nor_holds_a_run(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "WANDB_MODE"}
    environment |= {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": DEAD_SERVER}
    arguments = [*FAST, "tracking=wandb", f"run_dir={run_dir}", "train.steps=3"]
    process = subprocess.Popen(
        [*CLI, "train", *arguments, "launch.processes=1"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list(run_dir.glob("checkpoints/step-3")):
        time.sleep(0.1)
    trained = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert time.monotonic() - trained < CLOSE_SECONDS + 15
    assert "wandb" not in (out + err).replace("tracking=wandb", "")
    assert "offline" in (run_dir / "logs" / "wandb.log").read_text()
    losses = tracked(run_dir)[2]
    assert losses == {line["step"]: line["loss"] for line in metrics(run_dir)}


@pytest.mark.e2e
def test_a_server_that_never_answers_delays_the_end_by_a_bounded_time(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "CLOSE_SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        tracker = Tracker(run_dir)
        write(run_dir, 1)
        began = time.monotonic()
        tracker.close()
        assert time.monotonic() - began < 5
    assert tracker._process.returncode is not None


@pytest.mark.e2e
def test_without_tracking_nobody_imports_it(tmp_path: Path) -> None:
    code = (
        "import sys; from llama_gpt4 import train; code = train.main(sys.argv[1:]); "
        "sys.exit('wandb' in sys.modules or code)"
    )
    arguments = [*FAST, f"run_dir={tmp_path}/run", "train.steps=1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(tmp_path / "run" / "wandb")
    assert not os.path.exists(tmp_path / "run" / "wandb_id")
