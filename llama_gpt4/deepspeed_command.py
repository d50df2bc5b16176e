"""Whether the `deepspeed` command that a rank belongs to is still there.

The command starts `deepspeed.launcher.launch`, which starts the ranks. On one host it passes no
signal on: a SIGTERM ends the command alone, and all below it would train on without an owner.
"""

import os
from pathlib import Path

LAUNCH = b"deepspeed.launcher.launch"


class DeepSpeedCommand:
    """As this process finds it when it starts; nothing where somebody else has started it."""

    def __init__(self) -> None:
        launch = os.getppid()
        self._launch = launch if LAUNCH in _command_line(launch).split(b"\0") else None
        self._command = parent_of(launch)

    @property
    def is_gone(self) -> bool:
        """Whether the command, or its launcher, has ended since."""
        return self._launch is not None and (
            os.getppid() != self._launch or parent_of(self._launch) != self._command
        )


def parent_of(pid: int) -> int | None:
    """The parent of process `pid`; None where there is no such process, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
