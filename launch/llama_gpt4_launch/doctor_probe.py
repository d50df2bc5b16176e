"""`llama_gpt4.probe` on a host, over ssh where it is another: questions and answers."""

import json
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import Any

from llama_gpt4_launch.hostfile import Host
from llama_gpt4_launch.ssh import OPTIONS

THIS_HOST = Host("this host", 0)
CLOSE_SECONDS = 5

Answer = dict[str, Any]


class Probe:
    """`llama_gpt4.probe` on one host. An answer with `error` says what went wrong there."""

    def __init__(self, host: Host, variables: dict[str, str], timeout_seconds: float) -> None:
        self._variables, self._timeout_seconds = variables, timeout_seconds
        self._fault = ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the probe)
        self._process = subprocess.Popen(
            _command(host), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )

    def ask(self, question: str, **arguments: Any) -> Answer:
        """What the host answers to `question`; what went wrong, where it does not in time."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"ask": question, "environment": self._variables, **arguments}
        late = threading.Timer(self._timeout_seconds, self._give_up)
        late.start()
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        late.cancel()
        if line:
            return json.loads(line)
        self._fault = self._fault or self._last_words()
        return {"error": self._fault}

    def _give_up(self) -> None:
        self._fault = f"no answer within {self._timeout_seconds:g} s"
        self._process.kill()

    def skew_seconds(self) -> float:
        """How far the host's clock is ahead of ours, by the quickest of three answers; NaN without
        any. The first takes as long as the probe does to start."""
        best, skew = float("inf"), float("nan")
        for _ in range(3):
            asked = time.time()
            answer = self.ask("clock")
            answered = time.time()
            if "error" in answer:
                break
            if answered - asked < best:
                best, skew = answered - asked, answer["seconds"] - (asked + answered) / 2
        return skew

    def close(self) -> None:
        """End it; it ends by itself when nobody can ask any more."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else f"it ended with exit code {self._process.returncode}"


def _command(host: Host) -> list[str]:
    probe = [sys.executable, "-m", "llama_gpt4.probe"]
    if host is THIS_HOST:
        return probe
    # As launchers do: the same interpreter on all hosts.
    return ["ssh", *OPTIONS, host.name, f"exec {shlex.join(probe)}"]
