"""Runs that are killed or told to stop: what they paid for stays, and the same line goes on."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from .answering import Answering, instructions
from .teacher import Teacher
from .test_faults import assert_complete

KILLS = 20
IN_FLIGHT = 8


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def n_answered(teacher: Teacher) -> int:
    return teacher.stats().kinds.get("ok", 0)


def test_twenty_kills_lose_nothing_and_send_again_only_what_was_in_flight(
    answering: Answering,
) -> None:
    teacher, chance = answering.teacher, random.Random(0)
    teacher.behaves(latency_seconds=0.02)
    records = instructions(2000)
    slow = f"teacher.in_flight={IN_FLIGHT}"
    for _ in range(KILLS):
        before = teacher.stats()
        process = answering.start(records, slow)
        wait_for(lambda n=before.requests: teacher.stats().requests > n)  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.15))
        assert process.pid and process.is_alive(), "the kill comes too late to prove anything"
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        wait_for(lambda: teacher.stats().concurrent == 0)  # workers ended with their parent
        after = teacher.stats()
        new = after.requests - before.requests
        repeated = after.sent_again - before.sent_again
        assert repeated <= IN_FLIGHT, f"{repeated} of {new} requests were known already"
    unfinished = teacher.stats()
    assert 0 < len(unfinished.answers) < 2000
    assert_complete(answering(records, "teacher.in_flight=64"), records)
    stats = teacher.stats()
    assert len(stats.answers) == 2000
    assert stats.sent_again <= KILLS * IN_FLIGHT
    assert stats.paid_twice <= stats.sent_again


def test_ctrl_c_once_sees_what_is_in_flight_through(answering: Answering) -> None:
    answering.teacher.behaves(latency_seconds=0.5)
    records = instructions(100)
    process = answering.start(records, f"teacher.in_flight={IN_FLIGHT}")
    wait_for(lambda: answering.teacher.stats().concurrent == IN_FLIGHT)
    assert process.pid
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to all processes of the run
    process.join()
    assert process.exitcode == 75
    stats = answering.teacher.stats()
    assert stats.kinds == {"ok": stats.requests} and stats.requests <= 2 * IN_FLIGHT + 1
    partial = answering.folder / "output" / "data.jsonl"
    assert len(partial.read_text().splitlines()) == stats.requests
    answering.teacher.behaves()
    assert_complete(answering(records), records)
    assert answering.teacher.stats().requests == 100 - stats.requests


def test_ctrl_c_while_workers_start_is_not_lost(answering: Answering) -> None:
    answering.teacher.behaves(latency_seconds=0.5)
    process = answering.start(instructions(100), "teacher.in_flight=1")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for(lambda: bool(children.read_text()))
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 75
    assert answering.teacher.stats().requests <= 1


def test_ctrl_c_twice_ends_what_is_in_flight(answering: Answering) -> None:
    answering.teacher.behaves(latency_seconds=0.1)
    records = [*instructions(4), *instructions(40, " [[wait:60]]")]
    process = answering.start(records, f"teacher.in_flight={IN_FLIGHT}")
    wait_for(lambda: n_answered(answering.teacher) == 4)
    wait_for(lambda: answering.teacher.stats().concurrent == IN_FLIGHT)
    assert process.pid
    os.killpg(process.pid, signal.SIGINT)
    process.join(0.5)
    assert process.is_alive(), "once is not enough"
    os.killpg(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 75
    stats = answering.teacher.stats()
    assert stats.kinds == {"ok": 4, "abandoned": IN_FLIGHT}
    assert len((answering.folder / "output" / "data.jsonl").read_text().splitlines()) == 4


def test_a_worker_that_is_killed_alone_is_no_silent_loss(answering: Answering) -> None:
    answering.teacher.behaves(latency_seconds=0.05)
    records = instructions(100)
    process = answering.start(records, "run.workers=2", "teacher.in_flight=4")
    wait_for(lambda: n_answered(answering.teacher) > 5)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    process.join(30)
    assert process.exitcode not in (0, None), "half of the work is not done"
    assert_complete(answering(records), records)
    assert answering.teacher.stats().sent_again <= 2


def test_a_full_disk_or_a_folder_that_cannot_be_written_is_one_line(answering: Answering) -> None:
    blocked = answering.folder / "blocked"
    blocked.write_text("a file where the folder of replies should be")
    run = answering(instructions(5), f"run.journal_dir={blocked}")
    assert run.code == 2 and str(blocked) in run.complaint
    assert answering.teacher.stats().requests == 0
