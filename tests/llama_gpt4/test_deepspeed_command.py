"""Under the real command: tests/distributed/test_preemption.py."""

import os
import subprocess
import sys
import time
from pathlib import Path

from llama_gpt4.deepspeed_command import DeepSpeedCommand, parent_of

RANK = """
import sys, time
from pathlib import Path
from llama_gpt4.deepspeed_command import DeepSpeedCommand
command = DeepSpeedCommand()
Path(sys.argv[1]).touch()
while not command.is_gone:
    time.sleep(0.05)
Path(sys.argv[1]).write_text("gone")
"""
STARTS_A_RANK = (
    f"import subprocess, sys; subprocess.run([sys.executable, '-c', {RANK!r}, sys.argv[1]])"
)
STARTS_THAT = (
    "import subprocess, sys; subprocess.run("
    f"[sys.executable, '-c', {STARTS_A_RANK!r}, sys.argv[1], 'deepspeed.launcher.launch'])"
)


def wait_for(path: Path, text: str) -> None:
    until = time.monotonic() + 60
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_its_end_is_seen_by_the_ranks(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = subprocess.Popen([sys.executable, "-c", STARTS_THAT, str(mark)])
    wait_for(mark, "")
    command.terminate()
    command.wait()
    wait_for(mark, "gone")


def test_whoever_else_has_started_a_process_may_go() -> None:
    assert not DeepSpeedCommand().is_gone
    assert parent_of(os.getpid()) == os.getppid()
    assert parent_of(2**22 + 1) is None
