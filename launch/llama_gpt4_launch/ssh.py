"""Commands on other hosts over ssh, and the launcher's watch over them until all have ended.

A connection that is silent for 15 seconds counts as broken.
"""

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType

from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.program import SIGNALS, STOP_SIGNALS, ExitReport
from llama_gpt4_launch.hostfile import Host
from llama_gpt4_launch.watch import (
    BEAT_SECONDS,
    END_SECONDS,
    LAUNCHER,
    Pulse,
    announce,
    request_stop,
    said_end,
)

OPTIONS = (
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=3"),
)
REACH_SECONDS = 20.0
SSH_FAILED = 255
"""What ssh itself ends with; everything else is the remote command's code."""
LEAVE_SECONDS = END_SECONDS + 35.0
"""How long connections may stay once the run is over: DeepSpeed's launcher takes up to 30 seconds
to give its processes up."""


def require_reachable(hosts: list[Host], python: str) -> None:
    """Every host answers and has `python`; otherwise one line that names those which do not."""
    if faults := unreachable(hosts, python).values():
        raise InputError(
            f"{'; '.join(faults)}: every host of the hostfile must let you in by ssh without a "
            "password and have this environment at the same path"
        )


def unreachable(hosts: list[Host], python: str) -> dict[Host, str]:
    """Hosts that do not answer, or have no `python`, and what is wrong with each."""
    question = f"test -x {shlex.quote(python)}"
    asked = [
        subprocess.Popen(
            ["ssh", *OPTIONS, host.name, question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in hosts
    ]
    until = time.monotonic() + REACH_SECONDS
    faults = {}
    for host, client in zip(hosts, asked, strict=True):
        try:
            said = client.communicate(timeout=max(0.1, until - time.monotonic()))[1].strip()
        except subprocess.TimeoutExpired:
            client.kill()
            client.communicate()
            faults[host] = f"{host.name} does not answer within {REACH_SECONDS:.0f} seconds"
            continue
        if client.returncode == SSH_FAILED:
            said = said.splitlines()[-1] if said else ""
            faults[host] = f"{host.name} cannot be reached ({said})"
        elif client.returncode:
            faults[host] = f"{host.name} has no {python}"
    return faults


def kill(hosts: list[Host], frozen: Path) -> None:
    """Kill what runs on `hosts` by the configuration `frozen`, which all of it has in its command
    line: the last resort where nothing there listens any more."""
    line = f"exec pkill -KILL -f -- {shlex.quote(f'--resolved {re.escape(str(frozen))}')}"
    asked = [
        subprocess.Popen(["ssh", *OPTIONS, host.name, line], stdin=subprocess.DEVNULL)
        for host in hosts
    ]
    for client in asked:
        try:
            client.wait(REACH_SECONDS)
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait()


def remote(command: list[str], environment: dict[str, str], secrets: list[str]) -> str:
    """The line that runs `command` there; it reads the secrets from its standard input."""
    reads = [f"IFS= read -r {name} && export {name} &&" for name in secrets]
    values = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
    return " ".join([*reads, "exec", "env", *values, shlex.join(command)])


def connect(host: str, line: str, secrets: list[str]) -> "subprocess.Popen[bytes]":
    """Start `line` on `host`; the values of its secrets go through the connection."""
    client = subprocess.Popen(
        ["ssh", *OPTIONS, host, line], stdin=subprocess.PIPE, start_new_session=True
    )
    assert client.stdin is not None
    try:
        client.stdin.write("".join(f"{value}\n" for value in secrets).encode())
        client.stdin.close()
    except BrokenPipeError:
        pass  # it has ended already, and its code says why
    return client


class Connections:
    """The launcher's ends of what runs elsewhere, by host."""

    def __init__(self, run_dir: Path, report: ExitReport) -> None:
        self._run_dir = run_dir
        self._report = report
        self._clients: dict[str, subprocess.Popen[bytes]] = {}
        self._received: list[int] = []
        for number in SIGNALS:
            signal.signal(number, self._note)

    def wait(self, clients: "dict[str, subprocess.Popen[bytes]]") -> ExitCode:
        """Watch them until all have ended; the run's exit code."""
        self._clients = clients
        pulse = Pulse(self._run_dir, LAUNCHER)
        judged: set[str] = set()
        next_beat = 0.0
        over_since: float | None = None
        while [client for client in clients.values() if client.poll() is None]:  # asks them all
            if time.monotonic() >= next_beat:
                pulse.beat()
                next_beat = time.monotonic() + BEAT_SECONDS
            for host in clients.keys() - judged:
                if clients[host].returncode is not None:
                    judged.add(host)
                    self._judge(host, clients[host].returncode)
            if over_since is None and said_end(self._run_dir) not in (None, ExitCode.DONE):
                over_since = time.monotonic()
            if over_since is not None and time.monotonic() - over_since > LEAVE_SECONDS:
                self._cut()
            time.sleep(0.1)
        pulse.end()
        for host in clients.keys() - judged:
            self._judge(host, clients[host].returncode)
        code = said_end(self._run_dir)
        if code is None:
            announce(self._report, ExitCode.BUG, "the processes ended without saying how")
        return ExitCode.BUG if code is None else code

    def _judge(self, host: str, code: int) -> None:
        if code == SSH_FAILED:
            announce(
                self._report,
                ExitCode.BUG,
                f"host {host} is lost, its connection broke; the same command resumes from the "
                "last checkpoint",
            )
        elif code:
            known = ExitCode(code) if code in list(ExitCode) else ExitCode.BUG
            announce(self._report, known, f"host {host} ended with exit code {code}")

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received.append(number)
        if number in STOP_SIGNALS:
            request_stop(self._run_dir)
        elif self._received.count(number) > 1:
            self._cut()
        else:
            announce(self._report, ExitCode.BUG, "interrupted")

    def _cut(self) -> None:
        for client in self._clients.values():
            if client.poll() is None:
                os.killpg(client.pid, signal.SIGKILL)
