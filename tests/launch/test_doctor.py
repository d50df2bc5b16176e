"""`llama-gpt4 doctor`: what is red and what is green, and real processes that meet."""

import math
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_launch import doctor
from llama_gpt4_launch.doctor import Check, DoctorConfig

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError

from ..command import ENVIRONMENT, llama_gpt4


def config(*overrides: str) -> DoctorConfig:
    return compose(DoctorConfig, "doctor", overrides)


def fact(**changes: Any) -> dict[str, Any]:
    """What a probe may say."""
    return {
        "host": "h",
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "code": "c" * 64,
        "commit": "1234567",
        "gpus": ["H200"] * 8,
        "driver": "570.1",
        "free_bytes": 500 * 10**9,
        "files": {"a.json": "d" * 64},
        "port": "free",
        "operators": {"model.kernels=fused": "usable"},
    } | changes


def red(facts: dict[str, Any], skews: dict[str, float] | None = None, *line: str) -> dict[str, str]:
    checks = doctor.fact_checks(config(*line), facts, skews or dict.fromkeys(facts, 0.0))
    return {check.name: check.text for check in checks if not check.is_good}


@pytest.mark.parametrize(
    "changes, name, text",
    [
        (
            {"versions": {"python": "3.11.7", "torch": "2.12.1"}},
            "torch",
            "2.13.0 on a, b; 2.12.1 on c",
        ),
        (
            {"code": "e" * 64},
            "code",
            "1234567 (cccccccc) on a, b; 1234567 (eeeeeeee) on c",
        ),
        ({"gpus": ["H200"] * 7}, "gpus", "8 x H200 on a, b; 7 x H200 on c"),
        ({"gpus": []}, "gpus", "8 x H200 on a, b; none on c"),
        ({"driver": "550.2"}, "driver", "570.1 on a, b; 550.2 on c"),
        (
            {"free_bytes": 3 * 10**9},
            "disk",
            "3.0 GB free for runs on c, less than min_free_gb=10",
        ),
        ({"files": {"a.json": "f" * 64}}, "a.json", "sha256 dddddddddddd on a, b; sha256 ffff"),
        ({"files": {"a.json": None}}, "a.json", "cannot be read on c"),
        ({"port": "Address already in use"}, "port 29500", "c: Address already in use"),
        (
            {"operators": {"model.kernels=fused": "not usable: no Triton"}},
            "model.kernels=fused",
            "usable on a, b; not usable: no Triton on c",
        ),
    ],
)
def test_a_host_that_is_not_like_the_others_is_red(
    changes: dict[str, Any], name: str, text: str
) -> None:
    assert not red({"a": fact(), "b": fact(), "c": fact()})
    [(found, shown)] = red({"a": fact(), "b": fact(), "c": fact(**changes)}).items()
    assert found == name and shown.startswith(text)


def test_the_same_files_are_the_same_code_whatever_git_says() -> None:
    assert not red({"a": fact(), "b": fact(commit="no git")})


def test_without_gpus_where_they_are_asked_for() -> None:
    hosts = {"a": fact(gpus=[]), "b": fact(gpus=[])}
    assert red(hosts, None, "device=cuda") == {"gpus": "device=cuda, and torch finds none on a, b"}
    assert not red(hosts)
    assert not red({"a": fact(), "b": fact(gpus=[])}, None, "device=cpu")


def test_clocks_are_compared_with_each_other() -> None:
    hosts = {"a": fact(), "b": fact()}
    # Ours may be wrong: it takes no part in the training.
    assert not red(hosts, {"a": 70.0, "b": 70.5})
    assert red(hosts, {"a": -1.0, "b": 70.0}) == {"clock": "b is 71.0 s ahead of a: set its clock"}


def test_many_hosts_are_counted() -> None:
    facts = {f"n{i}": fact(driver="1" if i else "2") for i in range(64)}
    assert red(facts) == {"driver": "2 on n0; 1 on n1, n2, n3, n4 and 59 more"}


def test_colours_are_for_terminals() -> None:
    checks = [Check("a", True, "fine"), Check("long", False, "bad")]
    assert list(doctor.table(checks, False)) == ["ok   a     fine", "RED  long  bad"]
    assert list(doctor.table(checks, True))[1] == "\033[31mRED\033[0m  long  bad"


@pytest.mark.parametrize(
    "line, message",
    [
        (["device=gpu"], "device=gpu is not one of"),
        (["processes=0"], "processes=0 must be positive"),
        (["processes=2", "hostfile=hosts"], "the slots in the hostfile"),
        (["master_port=70000"], "master_port=70000"),
        (["hostfle=hosts"], "hostfle is not a key of this program; did you mean hostfile"),
    ],
)
def test_bad_lines(line: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(*line)


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


def test_skews_of_hosts_that_have_not_answered_are_unknown(
    ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", ENVIRONMENT["PATH"])
    probe = doctor.Probe(doctor.Host("gone", 1), {}, 5)
    assert math.isnan(probe.skew_seconds())
    assert "No route to host" in probe.ask("clock")["error"]
    probe.close()
