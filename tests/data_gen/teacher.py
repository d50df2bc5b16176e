"""The fault server for a test: started once, and as it should be for each test.

def test_…(teacher: Teacher) -> None:
    teacher.behaves(faults={"500": 0.1}, latency_seconds=0.01)
    … something asks teacher.base_url …
    assert teacher.stats().paid_twice == 0
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .teacher_faults import TeacherSettings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stats:
    """What the server received and sent since it was told how to behave."""

    attempts: dict[str, int]
    """Hash of a request's body → how often it came."""
    answers: dict[str, int]
    """Hash of a request's body → how often it was answered with choices, which costs money."""
    kinds: dict[str, int]
    """How requests ended: `ok`, a fault, `limited` by the quota, `abandoned` by the client."""
    keys: dict[str, int]
    began_at: float
    events: list[tuple[float, str, str, int]]
    """Time, body, end, and how many requests were in flight at that moment."""
    prompt_tokens: int
    completion_tokens: int
    concurrent: int
    max_concurrent: int
    connections: int

    @property
    def requests(self) -> int:
        return sum(self.attempts.values())

    @property
    def paid_twice(self) -> int:
        """Answers beyond the first for the same body."""
        return sum(n - 1 for n in self.answers.values())

    @property
    def sent_again(self) -> int:
        """Attempts beyond the first of the same body."""
        return sum(n - 1 for n in self.attempts.values())

    @property
    def seconds(self) -> float:
        """From the first connection to the end of the last request."""
        return max(end for end, *_ in self.events) - self.began_at

    @property
    def most_attempts(self) -> int:
        return max(self.attempts.values(), default=0)


class Teacher:
    """A running server, seen from a test."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid
        self.url = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.url}/v1"

    def behaves(self, **settings: Any) -> None:
        """From now on as `TeacherSettings` say; what was counted and in flight is forgotten."""
        self._call("/reset", asdict(TeacherSettings(**settings)))

    def stats(self) -> Stats:
        return Stats(**self._call("/stats"))

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.url + path, data, timeout=30) as response:
            return json.load(response)


@contextmanager
def running_teacher(**settings: Any) -> Iterator[Teacher]:
    """A server on a free port of loopback for as long as the block lasts."""
    pairs = [f"{k}={json.dumps(v)}" for k, v in asdict(TeacherSettings(**settings)).items()]
    command = [sys.executable, "-m", "tests.data_gen.teacher_server", "--port", "0", *pairs]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin
        try:
            yield Teacher(int(process.stdout.readline()), process.pid)
        finally:
            process.stdin.close()
            process.terminate()
