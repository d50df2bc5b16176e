"""How the processes of a run on several hosts notice that one of them is gone, and end.

Launchers tear down their own host only: a killed host leaves the others waiting in a collective for
half an hour. So every rank and the launcher keep a file in `run_dir/.alive/` that changes every
`BEAT_SECONDS`. Rank 0 watches all of them, the others watch rank 0, and all watch `exit.json`: once
it says that the run is over, who does not end by itself is ended. Nothing here needs a network
beyond the shared run directory, or clocks that agree: a file counts as silent when it has changed
before one's eyes and then did not for `LOST_BEATS` looks.

A host that vanishes without a word ends the run within LOST_BEATS * BEAT_SECONDS + END_SECONDS =
70 seconds. Where connections break, as when its processes are killed, the others get an error at
once, look for SUSPECT_SECONDS who has fallen silent, and end with the name of that host.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from llama_gpt4.errors import ExitCode
from llama_gpt4.program import ExitReport

BEAT_SECONDS = 2.0
LOST_BEATS = 30
"""Looks without a change until somebody counts as lost: a cold import of torch from network storage
may keep all threads of a process waiting for most of a minute."""
SUSPECT_SECONDS = 10.0
"""How long to look for somebody silent after an error that the loss of a host would explain."""
END_SECONDS = 10.0
"""How long a process may take to end by itself once the run is over."""
LAUNCHER = "launcher"
STOP = "stop"
ENDED = "ended"


def alive_folder(run_dir: Path) -> Path:
    return run_dir / ".alive"


def rank_name(rank: int) -> str:
    return f"rank-{rank}"


class Pulse:
    """The file of this process."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self._path = alive_folder(run_dir) / name
        self._host = socket.gethostname()
        self._count = 0

    def beat(self) -> None:
        self._count += 1
        self._write(str(self._count))

    def end(self) -> None:
        """Say goodbye: silence from here on is no loss."""
        self._write(ENDED)

    def _write(self, word: str) -> None:
        aside = self._path.with_name(f".{self._path.name}.partial")
        try:
            self._path.parent.mkdir(exist_ok=True)
            aside.write_text(f"{self._host} {word}")
            aside.replace(self._path)
        except OSError:
            pass  # storage that hiccups, or a run directory just taken away, must not end a run


class Watch:
    """Who was heard, and for how many looks not any more."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = alive_folder(run_dir)
        self._last: dict[str, str] = {}
        self._silent: dict[str, int] = {}

    def texts(self) -> dict[str, str]:
        """What each file says now."""
        return {name: self._read(name) for name in self._names()}

    def lost(self, names: list[str] | None = None) -> dict[str, str]:
        """One look: the host of each that has fallen silent, of `names` or of all."""
        found = {}
        for name in self._names() if names is None else names:
            text = self._read(name)
            before = self._last.get(name, text)
            self._last[name] = text
            if _has_ended(text):
                self._silent.pop(name, None)
            elif text != before:
                self._silent[name] = 0
            elif name in self._silent:  # heard before: files of an earlier start never change
                self._silent[name] += 1
            if self._silent.get(name, 0) >= LOST_BEATS:
                found[name] = _host(text)
        return found

    def _names(self) -> list[str]:
        try:
            there = [path.name for path in self._folder.iterdir()]
        except OSError:
            return []
        return [name for name in there if name == LAUNCHER or name.startswith("rank-")]

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text()
        except OSError:
            return self._last.get(name, "")


def said_end(run_dir: Path) -> ExitCode | None:
    """How the run ended, by `exit.json`; None while it goes on."""
    try:
        return ExitCode(json.loads((run_dir / "exit.json").read_text())["code"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, or just being written
        return None


def request_stop(run_dir: Path) -> None:
    """Ask all ranks of a run to save and stop."""
    folder = alive_folder(run_dir)
    folder.mkdir(exist_ok=True)
    (folder / STOP).touch()


def is_anyone_there(run_dir: Path) -> bool:
    """Whether a rank has not said goodbye."""
    texts = Watch(run_dir).texts()
    return any(not _has_ended(text) for name, text in texts.items() if name != LAUNCHER)


def announce(report: ExitReport, code: ExitCode, message: str) -> None:
    """Let the run be over for all, with one line from whoever says it first."""
    if report.write(code, message):
        print(f"\nllama-gpt4 {report.program or 'train'}: {message}", file=sys.stderr, flush=True)


class RankWatch:
    """A rank's pulse and eyes, beside the thread that trains."""

    def __init__(self, run_dir: Path, rank: int) -> None:
        self._run_dir = run_dir
        self._rank = rank
        self._pulse = Pulse(run_dir, rank_name(rank))
        self._watch = Watch(run_dir)
        self._report = ExitReport()
        self._report.run_dir = run_dir
        self._old_end = _identity(run_dir / "exit.json")
        self._asked_to_stop = False
        self._over_since: float | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._pulse.beat()
            self._look()
            self._ended.wait(BEAT_SECONDS)

    def end(self) -> None:
        """The rank ends by itself: nobody shall miss it."""
        self._ended.set()
        self._thread.join(BEAT_SECONDS)
        self._pulse.end()

    def _look(self) -> None:
        code = self._end()
        if code is not None:
            self._over_since = self._over_since or time.monotonic()
            if time.monotonic() - self._over_since > END_SECONDS:
                os._exit(code)  # the thread that trains waits for somebody who is gone
            return
        lost = self._watch.lost(None if self._rank == 0 else [rank_name(0)])
        if LAUNCHER in lost:
            self._request_stop()
        self._announce_lost(lost, LOST_BEATS * BEAT_SECONDS)
        if self._rank == 0 and (alive_folder(self._run_dir) / STOP).exists():
            self._request_stop()

    def name_the_lost(self) -> None:
        """Find out who of the others has died, unless somebody says so before."""
        watch = Watch(self._run_dir)
        before = watch.texts()
        until = time.monotonic() + SUSPECT_SECONDS
        while self._end() is None and time.monotonic() < until:
            time.sleep(0.2)
        if self._end() is None:
            after = watch.texts()
            silent = {name: text for name, text in after.items() if before.get(name) == text}
            lost = {name: _host(text) for name, text in silent.items() if not _has_ended(text)}
            self._announce_lost(lost, SUSPECT_SECONDS)

    def _announce_lost(self, lost: dict[str, str], seconds: float) -> None:
        names = sorted(name for name in lost if name != LAUNCHER)
        if not names:
            return
        ranks = ", ".join(name.removeprefix("rank-") for name in names)
        announce(
            self._report,
            ExitCode.BUG,
            f"host {lost[names[0]]} (rank {ranks}) was not heard of for {seconds:.0f} seconds and "
            "counts as lost; the same command resumes from the last checkpoint",
        )

    def _end(self) -> ExitCode | None:
        """A bad end of this start; what an earlier one left behind does not count."""
        if _identity(self._run_dir / "exit.json") == self._old_end:
            return None
        code = said_end(self._run_dir)
        return None if code is ExitCode.DONE else code

    def _request_stop(self) -> None:
        """Ask this rank to save and stop, and by its loop all of them."""
        if not self._asked_to_stop:
            self._asked_to_stop = True
            os.kill(os.getpid(), signal.SIGTERM)


def _host(text: str) -> str:
    return text.rpartition(" ")[0]


def _has_ended(text: str) -> bool:
    return text.endswith(f" {ENDED}")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
