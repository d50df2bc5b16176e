"""Processes beside this one: what they make, and that none outlives its work."""

import io
import os
import pickle
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
from llama_gpt4.program import SIGNALS
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


@dataclass(frozen=True)
class Unready:
    """Cannot be made ready."""

    def ready(self) -> Callable[[int], tuple[int, int]]:
        raise InputError("there is nothing to work with")


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


def test_what_cannot_be_made_ready_is_told_here(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(InputError, match="there is nothing to work with"),
        Workers[int, tuple[int, int]]() as pool,
    ):
        list(pool.work(Unready(), range(3)))
    assert not capfd.readouterr().err


def test_none_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(InputError, match=r"no process could be started to help \(No such file"):
        Workers[int, int]()


def test_half_of_a_pickle_is_an_end() -> None:
    """Who is killed while it writes leaves that."""
    whole = pickle.dumps([*range(100_000)])
    assert workers._load(io.BytesIO(whole)) == [*range(100_000)]
    for size in (0, 1000, len(whole) - 1000):
        with pytest.raises(EOFError):
            workers._load(io.BytesIO(whole[:size]))
    with pytest.raises(pickle.UnpicklingError):  # a bug
        workers._load(io.BytesIO(b"noise"))


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_not_theirs(number: signal.Signals) -> None:
    """Slurm, `timeout` and the terminal send them to all processes; this one answers."""
    with Workers[int, tuple[int, int]]() as pool:
        for process in pool._processes:
            process.send_signal(number)
        assert [square for square, _ in pool.work(Squares(), range(4))] == [0, 1, 4, 9]


def test_a_module_of_this_folder_hides_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise ValueError('hidden')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with Workers[int, tuple[int, int]]() as pool:
        assert len(list(pool.work(Squares(), range(4)))) == 4


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
