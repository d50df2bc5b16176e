"""Runs of batches for tests: items, whole runs, and processes that are ended at a chosen step."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llama_gpt4_data.generate import Generated, generate
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.worker import replies_to

from .batch_server import BatchServer
from .endpoints import batch_config, endpoint_config, prices_config, request, run_config


@dataclass(frozen=True)
class Asked:
    """A question, and for some a second one after its answer."""

    question: str
    address: str
    has_second: bool = False

    def request(self, replies: Sequence[Reply]) -> Request | None:
        if not replies:
            return request(self.question, self.address)
        if len(replies) == 1 and self.has_second:
            return request(f"After {replies[0].text}", self.address)
        return None


def asked(server: BatchServer, n: int, mark: str = "", n_with_second: int = 0) -> list[Asked]:
    return [
        Asked(f"Question {number}? {mark}", server.base_url, number < n_with_second)
        for number in range(n)
    ]


def go(
    items: Sequence[Asked], server: BatchServer, folder: Path, **values: Any
) -> tuple[Generated, Journal]:
    """A run by batches; `values` are of the run, its batches and the endpoint."""
    parts: dict[Callable[..., Any], dict[str, Any]] = {}
    for maker in (run_config, batch_config, endpoint_config):
        known = maker().__dataclass_fields__
        parts[maker] = {name: values.pop(name) for name in list(values) if name in known}
    assert not values
    batch = batch_config(**parts[batch_config])
    return generate(
        items,
        run_config(folder, **({"mode": "batch", "batch": batch} | parts[run_config])),
        endpoint_config(server.base_url, **parts[endpoint_config]),
        prices_config(),
        task="answer",
    )


def unanswered(items: Sequence[Asked], journal: Journal) -> list[str]:
    """Questions of the items that do not have all their replies."""
    return [item.question for item in items if replies_to(item, journal)[1] is not None]


def journal_lines(folder: Path) -> list[bytes]:
    """Those that are whole."""
    files = sorted(folder.rglob("journal/**/*.jsonl"))
    return [line for path in files for line in path.read_bytes().split(b"\n")[:-1]]


class Child:
    """A process that runs `what` and is sent a signal at a chosen step, before it knows that the
    step is done."""

    def __init__(self) -> None:
        self._pid = 0
        self._is_known = threading.Event()
        self.is_quiet = True

    def hit(self, number: int) -> None:
        self._is_known.wait(5)
        os.kill(self._pid, number)

    def run(self, what: Callable[[], Any], before_start: Callable[[], Any] = lambda: None) -> int:
        """The exit code; a negative one is the signal that ended it."""
        self._pid = os.fork()
        if self._pid == 0:
            if self.is_quiet:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 1)
                os.dup2(nowhere, 2)
            before_start()
            code = 1
            try:
                code = what()
            finally:
                os._exit(code if isinstance(code, int) else 0)
        self._is_known.set()
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def hit_after(server: BatchServer, call: str, nth: int, number: int = signal.SIGKILL) -> Child:
    """A child that is sent a signal when the service has done its `nth` `call`, and the answer is
    not out yet."""
    child, done, n_calls = Child(), getattr(server.service, call), 0

    def call_and_hit(*arguments: Any) -> Any:
        nonlocal n_calls
        answer, n_calls = done(*arguments), n_calls + 1
        if n_calls == nth:
            child.hit(number)
        return answer

    setattr(server.service, call, call_and_hit)
    return child


def killed_before_rename(nth: int) -> None:
    """Kill this process just before a file takes its place for the `nth` time."""
    n_renames = 0

    def hook(event: str, arguments: object) -> None:
        nonlocal n_renames
        n_renames += event == "os.rename"
        if event == "os.rename" and n_renames == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kill_before_rename(nth: int, what: Callable[[], Any]) -> int:
    return Child().run(what, partial(killed_before_rename, nth))
