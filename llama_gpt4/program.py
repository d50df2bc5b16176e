"""How a program of ours starts and ends: signals, exit codes, one line for bad input."""

import ctypes
import fcntl
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from llama_gpt4.errors import ExitCode, InputError, Preempted

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
SIGNALS = (*STOP_SIGNALS, signal.SIGINT)

FIRST_WORD_SECONDS = 2.0
"""How long a process that may be a mere victim lets the others say first what went wrong."""


class StopRequest:
    """Remembers that a signal asked the run to save and stop; the loop looks at it once a step.

    Before one exists, the signals end the program where it is: there is nothing to save.
    """

    def __init__(self) -> None:
        self.received = False
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True


class ExitReport:
    """`run_dir/exit.json`: how the run ended. Of all ranks, the first to write it also prints."""

    def __init__(self) -> None:
        self.run_dir: Path | None = None
        """Set as soon as the run directory is known to be this run's own."""
        self.program: str | None = None
        """The verb to speak as, where the command line does not say it."""

    def write(self, code: ExitCode, message: str) -> bool:
        """Whether this process is the one to report the end: the first that fails, or rank 0; of
        those who know no directory, the first on each host."""
        is_rank_0 = os.environ.get("RANK", "0") == "0"
        if self.run_dir is None:
            return os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0"
        if code is ExitCode.DONE and not is_rank_0:
            return False
        report = json.dumps({"code": int(code), "message": message}, ensure_ascii=False)
        try:
            with open(self.run_dir / "exit.json", "x") as file:
                file.write(report + "\n")
        except FileExistsError:
            return False
        except OSError:
            return is_rank_0
        return True


def run_program(name: str, main: Callable[[ExitReport], None]) -> int:
    """Run `main` and give its exit code; `main` names the run directory as soon as it has one."""
    before = {number: signal.signal(number, _end_here) for number in SIGNALS}
    try:
        return _run(name, main)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(text: str) -> None:
    """Print all of `text`; where its reader has gone (`… | head`), end as other programs do."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


def hold(run_dir: Path, key: str = "run_dir") -> int:
    """A descriptor that keeps others out of `run_dir` while this process, or one that inherits it,
    is alive; the system lets go of it however they die. `key` is what the user calls it."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(run_dir / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(
            f"{key}={run_dir} cannot be written ({error.strerror}): choose another"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InputError(
            f"{key}={run_dir} is in use by a run that has not ended: stop it, or choose another"
        ) from None
    except OSError as error:  # some network file systems have no locks
        log.warning("%s cannot be locked (%s): start it only once", run_dir, error.strerror)
    return handle


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Let a killed parent count as a request to stop: nobody else would tell this process."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None).prctl(set_parent_death_signal, number)


def end_at_once(code: int) -> NoReturn:
    """Exit without tearing the interpreter down: now and then threads of the process groups abort
    in that, and a run that is done and saved would end as a failure."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _end_here(number: int, frame: FrameType | None) -> None:
    _ignore_signals()  # Ctrl-C reaches every process twice, from the terminal and from its parent
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Preempted("asked to stop; there was nothing to save yet")


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _run(name: str, main: Callable[[ExitReport], None]) -> int:
    report = ExitReport()
    trace = ""
    try:
        main(report)
        code, message = ExitCode.DONE, "done"
    except InputError as error:
        code, message = ExitCode.BAD_INPUT, f"{error}"
    except Preempted as error:
        code, message = ExitCode.PREEMPTED, f"{error}"
    except KeyboardInterrupt:
        code, message = ExitCode.BUG, "interrupted"
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.BUG
    except Exception as error:  # the one place where a bug meets the user: keep all of it
        code, message = ExitCode.BUG, f"{type(error).__name__}: {error}"
        trace = traceback.format_exc()
    # A launcher stops the rest as soon as one has ended; that must not cut the last words short.
    _ignore_signals()
    if code is not ExitCode.DONE:
        _let_others_speak(trace)
    # Without a directory there is no log either, which would keep what nobody prints.
    first = report.write(code, message) or (report.run_dir is None and bool(trace))
    if code is not ExitCode.DONE:
        name = report.program or name
        logging.getLogger(name).info("ends with exit code %d: %s\n%s", code, message, trace)
        if first:
            sys.stderr.write(trace)
            print(f"llama-gpt4 {name}: {message}", file=sys.stderr, flush=True)
    return code


def _let_others_speak(trace: str) -> None:
    """What all ranks find alike is rank 0's to tell, on whose terminal the progress bar is; and
    when one rank dies, the others fail for the loss of it and know less about the cause."""
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world_size > 1 and (trace or rank > 0):
        time.sleep(FIRST_WORD_SECONDS)
