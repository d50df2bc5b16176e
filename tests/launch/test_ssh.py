"""Lines for other hosts, and the watch over what runs there. The clients are local processes: what
ssh itself does is tested in tests/cluster."""

import os
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from llama_gpt4_launch import ssh, watch
from llama_gpt4_launch.hostfile import Host

from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.program import ExitReport

from .test_local import handlers_put_back  # noqa: F401


def test_a_line_survives_the_shell_and_secrets_are_read() -> None:
    line = ssh.remote(["sh", "-c", 'echo "$A" "$KEY" "$1"', "x", "a b"], {"A": "x'$y"}, ["KEY"])
    assert "hidden" not in line
    done = subprocess.run(["sh", "-c", line], input="hidden\n", capture_output=True, text=True)
    assert done.stdout == "x'$y hidden a b\n"


def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere\.invalid cannot be reached \(.+\)"):
        ssh.require_reachable([Host("nowhere.invalid", 1)], "/bin/sh")


@pytest.fixture
def connections(tmp_path: Path) -> ssh.Connections:
    report = ExitReport()
    report.run_dir = tmp_path
    return ssh.Connections(tmp_path, report)


def client(script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["bash", "-c", script], start_new_session=True)


def done(run_dir: Path, code: int) -> str:
    return f"echo '{{\"code\": {code}}}' > {shlex.quote(str(run_dir))}/exit.json"


def test_the_runs_own_word_is_its_code(connections: ssh.Connections, tmp_path: Path) -> None:
    clients = {"a": client(done(tmp_path, 75)), "b": client("sleep 0.5; exit 1")}
    assert connections.wait(clients) is ExitCode.PREEMPTED
    assert (tmp_path / ".alive" / watch.LAUNCHER).read_text().endswith(" ended")


@pytest.mark.parametrize(
    "code, ends, line",
    [
        (255, 1, "host b is lost, its connection broke; the same command resumes from the last"),
        (2, 2, "host b ended with exit code 2"),
        (9, 1, "host b ended with exit code 9"),
    ],
)
def test_a_host_that_ends_alone_ends_the_run(
    code: int,
    ends: int,
    line: str,
    connections: ssh.Connections,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    waits = f"until [ -e {tmp_path}/exit.json ]; do sleep 0.1; done; exit 1"
    began = time.monotonic()
    assert connections.wait({"a": client(waits), "b": client(f"exit {code}")}) == ends
    assert time.monotonic() - began < 60
    assert capsys.readouterr().err.startswith(f"\nllama-gpt4 train: {line}")


def test_what_stays_is_cut(connections: ssh.Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "LEAVE_SECONDS", 0.3)
    deaf = client("trap '' TERM; sleep 60")
    assert connections.wait({"a": deaf, "b": client("exit 255")}) is ExitCode.BUG
    assert deaf.returncode == -signal.SIGKILL


def test_an_end_without_a_word_is_a_bug(
    connections: ssh.Connections, capsys: pytest.CaptureFixture[str]
) -> None:
    assert connections.wait({"a": client("exit 0")}) is ExitCode.BUG
    assert "ended without saying how" in capsys.readouterr().err


def later(seconds: float, number: int) -> None:
    def send() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


def test_sigterm_is_passed_on_through_the_run_directory(
    connections: ssh.Connections, tmp_path: Path
) -> None:
    stop = f"{tmp_path}/.alive/{watch.STOP}"
    listens = f"until [ -e {stop} ]; do sleep 0.1; done; {done(tmp_path, 75)}"
    later(0.5, signal.SIGTERM)
    assert connections.wait({"a": client(listens)}) is ExitCode.PREEMPTED


def test_ctrl_c_ends_the_run(
    connections: ssh.Connections, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later(0.5, signal.SIGINT)
    waits = f"until [ -e {tmp_path}/exit.json ]; do sleep 0.1; done; exit 1"
    assert connections.wait({"a": client(waits)}) is ExitCode.BUG
    assert "llama-gpt4 train: interrupted" in capsys.readouterr().err
