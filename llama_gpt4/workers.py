"""Other processes of this machine that work on what they are given, one thing after the other.

They are plain interpreters that take pickles from a pipe, so they end with the pipe: when they are
no longer needed, and when this process dies in whatever way. `multiprocessing` would run the user's
main module again in each, or fork a process that has threads.
"""

import gc
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Generic, Protocol, Self, TypeVar

from llama_gpt4.errors import InputError
from llama_gpt4.program import SIGNALS

MAX_WORKERS = 8
AHEAD = 2
"""Things given to each at a time, so that none waits for the next."""

TRUNCATED = "pickle data was truncated"
"""What `pickle` says where a pipe ends within an object."""

Given = TypeVar("Given", contravariant=True)
Made = TypeVar("Made", covariant=True)


class Plan(Protocol[Given, Made]):
    """What is pickled, and does the work where it was made ready."""

    def ready(self) -> Callable[[Given], Made]: ...


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class Workers(Generic[Given, Made]):
    """As many processes as there are cores for."""

    def __init__(self) -> None:
        # A signal to all processes of a group or job is answered here: they inherit the mask, and
        # end with the pipe.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._processes = [_started() for _ in range(min(usable_cores(), MAX_WORKERS))]
        except OSError as error:
            raise InputError(
                f"no process could be started to help ({error.strerror}): see `ulimit -a`, or use "
                "one core by `taskset -c 0`"
            ) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        # Each thread waits for a process.
        self._threads = ThreadPoolExecutor(len(self._processes))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for process in self._processes:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.communicate()

    def work(self, plan: Plan[Given, Made], things: Iterable[Given]) -> Iterator[Made]:
        """What is made of `things` by `plan`, in their order; few of them are held at a time."""
        for process in self._processes:
            _send(process, plan)
        ahead: deque[Future[Made]] = deque()
        for thing in things:
            ahead.append(self._threads.submit(self._ask, thing))
            if len(ahead) > AHEAD * len(self._processes):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _ask(self, thing: Given) -> Made:
        process = self._idle.get()
        try:
            _send(process, thing)
            return _received(process)
        finally:
            self._idle.put(process)


def _started() -> subprocess.Popen[bytes]:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return subprocess.Popen(
        # By -P the folder that we are in hides no module, unless it does so here.
        [sys.executable, "-P", "-c", "from llama_gpt4.workers import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
    )


def _send(process: subprocess.Popen[bytes], thing: Any) -> None:
    assert process.stdin is not None
    try:
        pickle.dump(thing, process.stdin, pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
    except BrokenPipeError:
        raise _ended(process) from None


def _received(process: subprocess.Popen[bytes]) -> Any:
    """What the process made, or what went wrong with that."""
    assert process.stdout is not None
    try:
        made, error = _load(process.stdout)
    except EOFError:
        raise _ended(process) from None
    if error is not None:
        raise error
    return made


def _load(pipe: IO[bytes]) -> Any:
    """What comes next; `EOFError`: the process at the other end has gone, maybe within it."""
    try:
        return pickle.load(pipe)
    except pickle.UnpicklingError as error:
        if TRUNCATED not in str(error):
            raise
        raise EOFError from None


def _ended(process: subprocess.Popen[bytes]) -> InputError:
    code = process.wait()
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return InputError(f"a process that helps was {how} (is the host out of memory?)")


def serve() -> None:
    """Be one of the processes."""
    gc.disable()  # what is worked on holds no cycles
    given, made = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whoever prints must not write into the pipe
    try:
        ready = cache(_load(given).ready)
        while True:
            pickle.dump(_made(ready, _load(given)), made, pickle.HIGHEST_PROTOCOL)
            made.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # nobody is there to take what is left to flush


def _made(ready: Callable[[], Callable[[Any], Any]], thing: Any) -> tuple[Any, Exception | None]:
    try:
        return ready()(thing), None
    except Exception as error:
        error.add_note(traceback.format_exc())
        return None, error
