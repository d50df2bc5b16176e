"""Files that change while their writer lives: who falls silent is missed, who leaves is not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from llama_gpt4_launch import watch
from llama_gpt4_launch.watch import LAUNCHER, Pulse, RankWatch, Watch, is_anyone_there, said_end

from llama_gpt4.errors import ExitCode


def beat_and_look(pulse: Pulse, eyes: Watch) -> dict[str, str]:
    pulse.beat()
    return eyes.lost()


def test_who_was_heard_and_falls_silent_is_lost(tmp_path: Path) -> None:
    eyes, dying, living = Watch(tmp_path), Pulse(tmp_path, "rank-1"), Pulse(tmp_path, "rank-2")
    for _ in range(2):
        dying.beat()
        assert not beat_and_look(living, eyes)
    for _ in range(watch.LOST_BEATS - 1):
        assert not beat_and_look(living, eyes)
    assert list(beat_and_look(living, eyes)) == ["rank-1"]
    dying.beat()
    assert not beat_and_look(living, eyes)


def test_an_earlier_starts_file_and_a_goodbye_are_no_loss(tmp_path: Path) -> None:
    Pulse(tmp_path, "rank-1").beat()
    eyes, leaving = Watch(tmp_path), Pulse(tmp_path, "rank-2")
    for _ in range(2):
        leaving.beat()
        eyes.lost()
    leaving.end()
    assert not any(eyes.lost() for _ in range(2 * watch.LOST_BEATS))


def test_who_has_not_said_goodbye_is_there(tmp_path: Path) -> None:
    assert not is_anyone_there(tmp_path)
    Pulse(tmp_path, LAUNCHER).beat()
    assert not is_anyone_there(tmp_path), "the launcher is nobody to wait for"
    rank = Pulse(tmp_path, "rank-0")
    rank.beat()
    assert is_anyone_there(tmp_path)
    rank.end()
    assert not is_anyone_there(tmp_path)


def test_the_end_that_others_wrote(tmp_path: Path) -> None:
    assert said_end(tmp_path) is None
    (tmp_path / "exit.json").write_text('{"code": ')
    assert said_end(tmp_path) is None
    (tmp_path / "exit.json").write_text('{"code": 75, "message": ""}')
    assert said_end(tmp_path) is ExitCode.PREEMPTED


RANK = """
import sys, time
from pathlib import Path
from llama_gpt4_launch import watch
from llama_gpt4_launch.watch import RankWatch
watch.BEAT_SECONDS, watch.LOST_BEATS, watch.END_SECONDS, watch.SUSPECT_SECONDS = 0.05, 10, 0.3, 0.5
watching = RankWatch(Path(sys.argv[1]), int(sys.argv[2]))
watching.start()
print("ready", flush=True)
"""


def rank(run_dir: Path, number: int, then: str = "time.sleep(60)") -> "subprocess.Popen[str]":
    """A rank whose training thread waits, in a process of its own."""
    started = subprocess.Popen(
        [sys.executable, "-c", RANK + then, str(run_dir), str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None and started.stdout.readline() == "ready\n"
    while not (run_dir / ".alive" / f"rank-{number}").exists():
        time.sleep(0.01)
    return started


def test_a_rank_that_ends_by_itself_says_so_and_nothing_else(tmp_path: Path) -> None:
    process = rank(tmp_path, 1, "watching.end(); sys.exit(7)")
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 7
    assert (tmp_path / ".alive" / "rank-1").read_text().endswith(" ended")


def test_a_lost_rank_ends_the_others_with_one_line(tmp_path: Path) -> None:
    ranks = [rank(tmp_path, number) for number in range(3)]
    time.sleep(0.5)
    ranks[1].kill()
    said = [process.communicate(timeout=20)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [1, -signal.SIGKILL, 1]
    [line] = "".join(said).split("\n")[1:-1]
    assert line.startswith("llama-gpt4 train: host ") and "(rank 1) was not heard of" in line
    assert json.loads((tmp_path / "exit.json").read_text())["code"] == 1


def test_the_loss_of_rank_0_is_noticed_as_well(tmp_path: Path) -> None:
    ranks = [rank(tmp_path, number) for number in range(2)]
    time.sleep(0.5)
    ranks[0].kill()
    assert "(rank 0) was not heard of" in ranks[1].communicate(timeout=20)[1]
    ranks[0].communicate()


def test_after_an_error_the_silent_one_is_named_soon(tmp_path: Path) -> None:
    dead = rank(tmp_path, 1)
    dead.kill()
    dead.communicate()
    survivor = rank(tmp_path, 0, "watching.name_the_lost()")
    assert "(rank 1) was not heard of" in survivor.communicate(timeout=20)[1]


def test_an_error_of_ones_own_blames_nobody(tmp_path: Path) -> None:
    other = rank(tmp_path, 1)
    alone = rank(tmp_path, 0, "watching.name_the_lost()")
    assert alone.communicate(timeout=20)[1] == ""
    other.kill()
    other.communicate()
    assert not (tmp_path / "exit.json").exists()


def test_a_bad_end_of_this_start_counts_and_an_old_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "exit.json").write_text('{"code": 1, "message": ""}')
    process = rank(tmp_path, 0)
    time.sleep(1)
    assert process.poll() is None
    (tmp_path / "exit.json").unlink()
    (tmp_path / "exit.json").write_text('{"code": 75, "message": ""}')
    process.communicate(timeout=20)
    assert process.returncode == ExitCode.PREEMPTED


LISTENS = "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); time.sleep(60)"


def test_a_request_to_stop_is_a_sigterm(tmp_path: Path) -> None:
    process = rank(tmp_path, 0, LISTENS)
    time.sleep(0.5)
    (tmp_path / ".alive" / watch.STOP).touch()
    process.communicate(timeout=20)
    assert process.returncode == 75


def test_a_launcher_that_is_gone_is_a_request_to_stop(tmp_path: Path) -> None:
    process, launcher = rank(tmp_path, 0, LISTENS), Pulse(tmp_path, watch.LAUNCHER)
    for _ in range(10):
        launcher.beat()
        time.sleep(0.05)
    process.communicate(timeout=20)
    assert process.returncode == 75


def test_storage_that_is_gone_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Pulse(tmp_path / "nowhere" / "at all", "rank-0").beat()
    assert Watch(tmp_path / "nowhere").lost() == {}
    quiet = RankWatch(tmp_path / "nowhere", 0)
    quiet._look()
    assert os.listdir(tmp_path) == []


def test_an_end_that_is_just_being_written_is_none_yet(tmp_path: Path) -> None:
    for text in ('{"code": 0, "mess', "{}", "7"):
        (tmp_path / "exit.json").write_text(text)
        assert said_end(tmp_path) is None
