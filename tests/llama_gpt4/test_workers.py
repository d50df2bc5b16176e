"""Processes beside this one: what they make, and that none outlives its work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llama_gpt4 import workers
from llama_gpt4.errors import InputError
from llama_gpt4.workers import Workers


@dataclass(frozen=True)
class Squares:
    """Squares numbers; what is wrong with some of them depends on the number."""

    def ready(self) -> Callable[[int], tuple[int, int]]:
        return squared


def squared(number: int) -> tuple[int, int]:
    print("noise")
    if number == 13:
        raise InputError("13 is no number")
    if number == 14:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 15:
        raise ValueError("a bug")
    return number**2, os.getpid()


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: 2)


def wait_until_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_made_comes_in_order_from_both_processes() -> None:
    taken = []

    def numbers() -> Iterator[int]:
        for number in [*range(13), *range(16, 40)]:
            taken.append(number)
            yield number

    with Workers[int, tuple[int, int]]() as pool:
        made = []
        for one in pool.work(Squares(), numbers()):
            made.append(one)
            assert len(taken) - len(made) <= 2 * workers.AHEAD
    assert [square for square, _ in made] == [n**2 for n in taken]
    pids = {pid for _, pid in made}
    assert len(pids) == 2 and os.getpid() not in pids
    wait_until_gone(pids)


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (13, InputError, "13 is no number"),
        (14, InputError, r"was ended by SIGKILL \(is the host out of memory\?\)"),
        (15, ValueError, "a bug"),
    ],
)
def test_what_goes_wrong_there_goes_wrong_here(
    number: int, kind: type[Exception], message: str
) -> None:
    with Workers[int, tuple[int, int]]() as pool:
        pids = {process.pid for process in pool._processes}
        with pytest.raises(kind, match=message) as caught:
            list(pool.work(Squares(), [1, 2, number, *range(20, 30)]))
    if kind is ValueError:
        assert "in squared" in caught.value.__notes__[0]  # where it happened
    wait_until_gone(pids)


CODE = """
import sys, time
from llama_gpt4.workers import Workers
from tests.llama_gpt4.test_workers import Squares
with Workers() as pool:
    made = list(pool.work(Squares(), range(12)))
    print(*[process.pid for process in pool._processes], flush=True)
    time.sleep(600)
"""


def test_they_end_with_a_process_that_is_killed() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    pids = {int(pid) for pid in process.stdout.readline().split()}
    assert pids and all(Path(f"/proc/{pid}").exists() for pid in pids)
    process.kill()
    process.wait()
    wait_until_gone(pids)
