"""The doctor's process on one host: what it finds there, and that it ends with whoever asks."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4 import probe
from llama_gpt4.probe import LIBRARIES, all_reduce, facts

PROBE = [sys.executable, "-m", "llama_gpt4.probe"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_what_a_host_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    names = [str(tmp_path / "a.json"), str(tmp_path / "none.json"), "sample:en"]
    found = facts(str(tmp_path / "not" / "yet"), names, free_port())
    assert found["versions"].keys() == {"python", *LIBRARIES}
    assert "missing" not in found["versions"].values()
    assert 0 < found["free_bytes"] < 2**60
    digest = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"  # sha256sum
    there, not_there, shipped = found["files"].values()
    assert there == digest and not_there is None and len(shipped) == 64
    assert found["port"] == "free"
    assert found["operators"]["model.attention=varlen"].startswith(("usable", "not usable: "))
    json.dumps(found)


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = facts("/", [], server.getsockname()[1])
    assert found["port"] == "Address already in use"


def test_other_code_has_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    files = [("llama_gpt4/a.py", tmp_path / "a.py")]
    before = probe._code_digest()
    assert before == probe._code_digest()
    listed = list(probe._code_files())
    assert {"llama_gpt4/probe.py", "llama_gpt4_conf/doctor.yaml"} <= {name for name, _ in listed}
    monkeypatch.setattr(probe, "_code_files", lambda: iter(listed + files))
    assert probe._code_digest() != before


@pytest.mark.e2e
def test_ranks_meet_and_add_up() -> None:
    answer = all_reduce(
        2,
        first_rank=0,
        world_size=2,
        address="127.0.0.1",
        port=free_port(),
        device="cpu",
        n_bytes=2**20,
        timeout_seconds=60,
    )
    assert answer["seconds"] > 0


def ask(process: subprocess.Popen[str], question: str, **arguments: Any) -> dict[str, Any]:
    assert process.stdin and process.stdout
    request = {"ask": question, "environment": {"GLOO_PROBED": "1"}, **arguments}
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@pytest.mark.e2e
def test_it_answers_line_by_line_and_ends_with_its_input() -> None:
    process = subprocess.Popen(PROBE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert abs(ask(process, "clock")["seconds"] - time.time()) < 60
    began = time.monotonic()
    # A rank that waits in vain, in a process of its own, for one that nobody starts.
    answer = ask(
        process,
        "all_reduce",
        processes=1,
        first_rank=0,
        world_size=2,
        address="127.0.0.1",
        port=free_port(),
        device="cpu",
        n_bytes=1024,
        timeout_seconds=2.0,
    )
    assert "Error: " in answer["error"] and "\n" not in answer["error"]
    assert time.monotonic() - began < 60
    process.communicate(timeout=10)
    assert process.returncode == 0
