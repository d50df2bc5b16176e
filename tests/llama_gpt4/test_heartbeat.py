"""Who is said to stand, of which signs of life; the processes are in tests/distributed."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llama_gpt4 import heartbeat
from llama_gpt4.deepspeed_command import DeepSpeedCommand
from llama_gpt4.heartbeat import Beat, Heartbeat, beat_file, described, explanation
from llama_gpt4.program import ExitReport
from llama_gpt4.ranks import Ranks

ONE = Beat(0, "a", 17, 3, 12, "backward pass", 40, "gloo:all_reduce", 61.0, ["  in backward\n"])


def beats(*collectives: int) -> dict[int, Beat]:
    return {
        rank: replace(ONE, rank=rank, collectives=n, host=f"host{rank // 2}")
        for rank, n in enumerate(collectives)
    }


def said(found: dict[int, Beat], *silent: int, ranks: int | None = None) -> tuple[str, list[int]]:
    return explanation(found, set(silent), ranks or len(found), 60)


def test_who_has_begun_the_fewest_collectives_stands() -> None:
    found = beats(41, 41, 40, 41)
    found[2] = replace(found[2], phase="waiting for data", last_collective="gloo:broadcast")
    message, culprits = said(found)
    assert culprits == [2]
    assert message == (
        "nothing has moved for 60 s (launch.hang_seconds): rank 2 on host1 (step 12, waiting for "
        "data) stands, while the others wait in gloo:all_reduce"
    )


def test_who_gives_no_sign_of_life_is_named_first() -> None:
    message, culprits = said(beats(41, 40, 41), 2)
    assert culprits == [2]
    assert "from rank 2 on host1 (last seen in step 12, backward pass): stopped" in message


def test_a_rank_without_a_heartbeat_is_one_without_life() -> None:
    message, culprits = said(beats(41, 40), ranks=3)
    assert culprits == [2] and "from rank 2: stopped" in message


def test_where_all_wait_in_the_same_nobody_is_blamed() -> None:
    message, culprits = said(beats(40, 40))
    assert culprits == [] and "look at the network" in message
    assert "rank 0 on host0" in message and "rank 1 on host0" in message


def test_one_process_stands_by_itself() -> None:
    message, culprits = said(beats(40))
    assert culprits == [0] and message.endswith("(step 12, backward pass) stands")


def test_what_is_shown_of_a_rank_ends_with_its_stack() -> None:
    text = described(ONE)
    assert text.startswith("rank 0 on a (step 12, backward pass), process 17, 40 collectives begun")
    assert "the last gloo:all_reduce, still for 61 s:\n" in text
    assert text.rstrip().endswith("in backward")


def test_who_was_stopped_while_moving_is_not_said_to_stand() -> None:
    text = described(replace(ONE, still_seconds=0.0, stack=[]))
    assert "moving when it last wrote:\n" in text and "still for" not in text


def ranks(world_size: int = 1) -> Ranks:
    return Ranks(0, 0, world_size, world_size, torch.device("cpu"), "here")


def beat_of(run_dir: Path) -> dict[str, Any]:
    return json.loads(beat_file(run_dir, 0).read_text())


def wait_for(run_dir: Path, **wanted: Any) -> dict[str, Any]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        beat = beat_of(run_dir)
        if all(beat[key] == value for key, value in wanted.items()):
            return beat
        time.sleep(0.01)
    raise AssertionError(f"{wanted} never came: {beat_of(run_dir)}")


def test_it_tells_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    of = ranks()
    with Heartbeat(tmp_path, of, ExitReport(), hang_seconds=1000, command=DeepSpeedCommand()):
        assert beat_of(tmp_path)["phase"] == "starting"
        of.progress.step = 7
        of.progress.at("update")
        beat = wait_for(tmp_path, phase="update")
        assert beat["step"] == 7 and beat["collectives"] == 0
        while not beat["stack"]:
            beat = beat_of(tmp_path)
        assert "test_it_tells_where_the_process_is" in "".join(beat["stack"])
    threads = [thread.name for thread in threading.enumerate()]
    assert "heartbeat" not in threads
    assert not (tmp_path / "hang.txt").exists()


def test_storage_that_is_gone_ends_nobody(tmp_path: Path) -> None:
    with Heartbeat(
        tmp_path / "nowhere" / "at all",
        ranks(),
        ExitReport(),
        hang_seconds=1000,
        command=DeepSpeedCommand(),
    ):
        pass


ALONE = """
import sys, time, torch
from pathlib import Path
from llama_gpt4.deepspeed_command import DeepSpeedCommand
from llama_gpt4.heartbeat import Heartbeat
from llama_gpt4.program import ExitReport
from llama_gpt4.ranks import Ranks

report = ExitReport()
report.run_dir = Path(sys.argv[1])
of = Ranks(0, 0, int(sys.argv[2]), 1, torch.device("cpu"), "here")
of.progress.at("update")

def the_one_that_sleeps():
    time.sleep(600)

with Heartbeat(report.run_dir, of, report, hang_seconds=0.2, command=DeepSpeedCommand()):
    the_one_that_sleeps()
"""


@pytest.mark.parametrize("world_size", [1, 2])
def test_nothing_that_moves_ends_the_process_with_a_report(tmp_path: Path, world_size: int) -> None:
    """Of two processes the other never says a word."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path), str(world_size)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    line, *stack = done.stderr.strip().split("\n")
    report = (tmp_path / "hang.txt").read_text()
    assert json.loads((tmp_path / "exit.json").read_text())["message"] in line
    assert "the_one_that_sleeps" in report and "step 0, update" in report
    if world_size == 1:
        assert "rank 0 on here (step 0, update) stands" in line
        assert "the_one_that_sleeps" in "".join(stack)
    else:
        assert "no sign of life comes from rank 1: stopped" in line
