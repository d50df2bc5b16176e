"""Ports of loopback for servers of others, and waiting until these answer."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path | None = None) -> None:
    """Return once `url` answers; an error if `process` ends first or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    said = log.read_text()[-2000:] if log else ""
    raise RuntimeError(f"{url} did not come up (exit code {process.poll()}): {said}")
