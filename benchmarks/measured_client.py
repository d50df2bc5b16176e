"""One client's run as a process of its own, measured from outside: clock, CPU and memory of its
whole tree of processes, as Linux tells them."""

import os
import subprocess
import time
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02
POLLS_A_LOOK_AT_MEMORY = 10
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Watched:
    """What a client's processes took."""

    seconds: float
    """From start to end."""
    cpu_seconds: float
    """User and system time of all its processes from start to end."""
    peak_bytes: int
    """Of all its processes; what they share counts once."""
    clock: list[float]
    """Unix time of each look at it."""
    cpu_at: list[float]
    """CPU seconds so far at each look."""

    def cpu_between(self, begin: float, end: float) -> float:
        """CPU seconds that it took between two moments of Unix time."""
        first, last = (max(0, bisect_right(self.clock, at) - 1) for at in (begin, end))
        return self.cpu_at[last] - self.cpu_at[first]


def watch(
    command: list[str], environment: dict[str, str], log: Path, limit_seconds: float
) -> Watched:
    """Run `command` to its end, which has to be a good one, and look at it on the way."""
    clock, cpu_at, peak_bytes, polls = [], [], 0, 0
    began = time.time()
    with open(log, "w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    pid = process.pid
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        clock.append(time.time())
        tree = _tree(pid)
        cpu_at.append(_cpu_seconds(tree))
        if polls % POLLS_A_LOOK_AT_MEMORY == 0:
            peak_bytes = max(peak_bytes, _bytes(tree))
        polls += 1
        if clock[-1] - began > limit_seconds:
            process.kill()
        time.sleep(POLL_SECONDS)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    cpu_seconds = usage.ru_utime + usage.ru_stime  # its own, and of those that it waited for
    clock.append(time.time())
    cpu_at.append(cpu_seconds)
    return Watched(clock[-1] - began, cpu_seconds, peak_bytes, clock, cpu_at)


def _tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(member for child in children for member in _tree(int(child)))]


def _cpu_seconds(tree: list[int]) -> float:
    """Of all in the tree, and of those that they have waited for."""
    ticks = 0
    for pid in tree:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def _bytes(tree: list[int]) -> int:
    total = 0
    for pid in tree:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "\nPss:" in rollup:
            total += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
    return total
