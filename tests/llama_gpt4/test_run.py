"""What a run does before its processes meet; the rest: tests/distributed and tests/e2e."""

import fcntl
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4 import run, train
from llama_gpt4.compose import compose_training
from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import freeze
from llama_gpt4.prepare import cache_key
from llama_gpt4.program import ExitReport, run_program

from ..command import ENVIRONMENT, FAST


def test_other_ranks_leave_a_directory_alone_until_rank_0_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    came_to: list[Any] = []
    monkeypatch.setattr(run, "train", lambda *given: came_to.append(given))
    report = ExitReport()
    prepared = replace(train.TRAINING, prepare=lambda config: None)
    run.run(prepared, [f"run_dir={tmp_path}/run"], report)
    assert came_to and report.run_dir is None
    assert not (tmp_path / "run").exists()


def test_contradictions_are_found_before_the_data_are_prepared(tmp_path: Path) -> None:
    unprepared = replace(train.TRAINING, prepare=lambda config: pytest.fail("it was prepared"))
    with pytest.raises(InputError, match=r"gradient_clipping=5\.0 contradicts 1\.0"):
        run.run(
            unprepared,
            [f"run_dir={tmp_path}/run", "+zero.deepspeed.gradient_clipping=5.0"],
            ExitReport(),
        )


def test_the_frozen_configuration_of_another_program_is_refused(tmp_path: Path) -> None:
    frozen = freeze(compose_training([f"run_dir={tmp_path}/run"]))
    other = replace(train.TRAINING, program="reward")
    with pytest.raises(InputError, match="is a run of `llama-gpt4 train`"):
        run.run(other, ["--resolved", str(frozen)], ExitReport())


def test_no_process_group_waits_while_data_are_prepared(tmp_path: Path) -> None:
    """Two ranks, as any launcher starts them, wait for a preparation that another process does:
    neither has so much as loaded torch, so there is no collective whose time could run out."""
    overrides = [*FAST, f"run_dir={tmp_path}/run", f"data.cache_dir={tmp_path}/cache"]
    key = cache_key(compose_training(overrides))
    (tmp_path / "cache").mkdir()
    lock = tmp_path / "cache" / f"{key}.lock"
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "llama_gpt4.train", *overrides],
                env=ENVIRONMENT | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"},
            )
            for rank in range(2)
        ]
        try:
            for process in ranks:
                until = time.monotonic() + 120
                while not holds_open(process.pid, lock):
                    assert process.poll() is None and time.monotonic() < until
                    time.sleep(0.02)
                assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()
        finally:
            for process in ranks:
                process.kill()
                process.wait()


def holds_open(pid: int, path: Path) -> bool:
    return any(link.resolve() == path for link in Path(f"/proc/{pid}/fd").iterdir())


def test_what_stops_the_preparation_is_in_the_exit_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "end_with_parent", lambda: None)  # it would outlive this test
    frozen = freeze(
        compose_training([f"run_dir={tmp_path}/run", f"data.files=[{tmp_path}/gone.json]"])
    )
    given = ["--resolved", str(frozen), "--prepare"]
    assert run_program("train", lambda report: run.run(train.TRAINING, given, report)) == 2
    said = json.loads((tmp_path / "run" / "exit.json").read_text())
    assert said == {"code": 2, "message": f"{tmp_path}/gone.json does not exist"}
    assert capsys.readouterr().err == f"llama-gpt4 train: {said['message']}\n"


def test_a_preparation_that_succeeds_is_not_the_end_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "end_with_parent", lambda: None)
    frozen = freeze(compose_training([f"run_dir={tmp_path}/run"]))
    ready = replace(
        train.TRAINING, prepare=lambda config: None, report_lines=lambda prepared: ["ready"]
    )
    given = ["--resolved", str(frozen), "--prepare"]
    assert run_program("train", lambda report: run.run(ready, given, report)) == 0
    assert not (tmp_path / "run" / "exit.json").exists()
