"""A host's answers, and what is known of one that gives none."""

import math
import os
from pathlib import Path

import pytest
from llama_gpt4_launch.doctor_probe import Probe
from llama_gpt4_launch.hostfile import Host


def test_skews_of_hosts_that_have_not_answered_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\necho "ssh: connect to host gone: No route to host" >&2\nexit 255\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    probe = Probe(Host("gone", 1), {}, 5)
    assert math.isnan(probe.skew_seconds())
    assert "No route to host" in probe.ask("clock")["error"]
    probe.close()
