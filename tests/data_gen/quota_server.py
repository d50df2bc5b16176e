"""`llmock`, a server of others: it keeps a quota, and says whether a client behaved well."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .ports import free_port, wait_until_healthy

LLMOCK = str(Path(sys.executable).with_name("llmock"))


@dataclass(frozen=True)
class QuotaServer:
    url: str

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def verdict(self) -> tuple[bool, str]:
        """Whether `llmock report --strict` finds no fault with its clients, and its words."""
        command = [LLMOCK, "report", "--url", self.url, "--strict"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode == 0, done.stdout + done.stderr


@contextmanager
def running_quota_server(requests_per_minute: int, *options: str) -> Iterator[QuotaServer]:
    """`llmock` on a free port of loopback; `options` are those of `llmock serve`."""
    port = free_port()
    command = [LLMOCK, "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--rpm", str(requests_per_minute), "--log-level", "warning", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process)
        yield QuotaServer(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()
