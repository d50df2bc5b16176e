"""`llama-gpt4 doctor`: what is red and what is green, and real processes that meet."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_gpt4_launch import doctor
from llama_gpt4_launch.doctor_checks import Check

from ..command import ENVIRONMENT, llama_gpt4


def test_colours_are_for_terminals() -> None:
    checks = [Check("a", True, "fine"), Check("long", False, "bad")]
    assert list(doctor.table(checks, False)) == ["ok   a     fine", "RED  long  bad"]
    assert list(doctor.table(checks, True))[1] == "\033[31mRED\033[0m  long  bad"


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from llama_gpt4_launch.cli import main; code = main(['doctor', '--help']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "master_port: int\n    Where processes meet" in done.stdout


@pytest.fixture
def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An `ssh` that knows three hosts: `here…`, which are this one, `silent`, and none else."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/bash\n"
        'while [[ "$1" == -* ]]; do shift 2; done\n'
        'host="$1"; shift\n'
        'case "$host" in\n'
        '  here*) exec bash -c "$*" ;;\n'
        "  silent) exec sleep 60 ;;\n"
        '  *) echo "ssh: connect to host $host port 22: No route to host" >&2; exit 255 ;;\n'
        "esac\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setitem(ENVIRONMENT, "PATH", f"{program.parent}:{os.environ['PATH']}")
    yield tmp_path


def rows(out: str) -> dict[str, str]:
    """State by check."""
    return {line[5:].split("  ")[0]: line[:3].strip() for line in out.splitlines()}


@pytest.mark.e2e
def test_two_hosts_that_are_ready(ssh: Path, free_port: int) -> None:
    (ssh / "hosts").write_text("here-1 slots=1\nhere-2 slots=1\n")
    (ssh / "hours.json").write_text("[]")
    done = llama_gpt4(
        "doctor",
        f"hostfile={ssh}/hosts",
        "master_address=127.0.0.1",
        f"master_port={free_port}",
        "device=cpu",
        "min_free_gb=0",
        f"data.files=[sample:zh,{ssh}/hours.json]",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(rows(done.stdout).values()) == {"ok"}
    assert "2 reached: here-1, here-2" in done.stdout
    assert "2 processes on 2 hosts add up 64 MiB in " in done.stdout
    assert done.stderr == ""


@pytest.mark.e2e
def test_this_host_with_faults(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        done = llama_gpt4(
            "doctor",
            f"master_port={port}",
            "min_free_gb=1e9",
            f"data.files=[{tmp_path}/none.json]",
            "processes=1",
            "device=cpu",
        )
    assert done.returncode == 2
    states = rows(done.stdout)
    faults = ["disk", f"{tmp_path}/none.json", f"port {port}"]
    assert [name for name, state in states.items() if state == "RED"] == faults
    assert states["hosts"] == states["torch"] == states["gloo"] == "ok"
    assert done.stderr == (
        f"llama-gpt4 doctor: 3 of {len(states)} checks are red: {', '.join(faults)}\n"
    )


@pytest.mark.e2e
@pytest.mark.slow
def test_hosts_that_do_not_answer_are_named_and_the_others_looked_at(
    ssh: Path, free_port: int
) -> None:
    (ssh / "hosts").write_text("here slots=1\nsilent slots=1\ngone slots=1\n")
    done = llama_gpt4(
        "doctor", f"hostfile={ssh}/hosts", "timeout_seconds=25", f"master_port={free_port}",
        "min_free_gb=0",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout.startswith(
        "RED  hosts                         silent: no answer within 25 s; gone: ssh: connect to "
        "host gone port 22: No route to host\n"
    )
    states = rows(done.stdout)
    assert states["torch"] == "ok" and "gloo" not in states
