"""One training run in two fresh processes, measured from outside.

Whoever trains appends a JSON line a step to `metrics.jsonl`; each line is stamped with the clock,
and with what Linux says about the processes: nothing depends on how a trainer measures itself.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RANKS = 2
POLL_SECONDS = 0.02

Processes = list[subprocess.Popen[bytes]]


@dataclass(frozen=True)
class Measured:
    """One run of one side, from the end of the last warm-up step to the end of the last step."""

    side: str
    tokens: int
    seconds: float
    cpu_seconds: float
    """Summed over the ranks."""
    peak_bytes: int
    """Largest resident memory of any rank since it began."""
    first_loss: float
    children_cpu_seconds: float
    """Of what the ranks have started: trackers."""
    children_whole_cpu_seconds: float
    """The same from its first to its last moment, before and after the measured steps as well."""
    load: float
    """One-minute load average before the run: what others did on the machine."""

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def tokens_per_cpu_second(self) -> float:
        return self.tokens / self.cpu_seconds


def measure(
    side: str, command: list[str], run_dir: Path, warmup_steps: int, steps: int
) -> Measured:
    """Start a rank's `command` on every rank, and measure the steps that follow the warm-up."""
    load = os.getloadavg()[0]
    with open(run_dir / "output", "w") as output:
        ranks = [
            subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
            for environment in environments()
        ]
        try:
            children = Children([rank.pid for rank in ranks])
            stamps = list(stamped_lines(run_dir / "metrics.jsonl", ranks, children))
            codes = [rank.wait() for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
    if any(codes) or len(stamps) != warmup_steps + steps:
        raise RuntimeError(f"{side} failed:\n" + (run_dir / "output").read_text()[-3000:])
    began, measured = stamps[warmup_steps - 1], stamps[warmup_steps:]
    return Measured(
        side=side,
        tokens=int(sum(stamp.line["tokens"] for stamp in measured)),
        seconds=measured[-1].clock - began.clock,
        cpu_seconds=measured[-1].cpu_seconds - began.cpu_seconds,
        peak_bytes=measured[-1].peak_bytes,
        first_loss=stamps[0].line["loss"],
        children_cpu_seconds=measured[-1].children_cpu_seconds - began.children_cpu_seconds,
        children_whole_cpu_seconds=children.cpu_seconds(),
        load=load,
    )


def environments() -> Iterator[dict[str, str]]:
    """What a launcher would tell each rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for rank in range(RANKS):
        yield os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(RANKS),
            "LOCAL_WORLD_SIZE": str(RANKS),
            "LOCAL_SIZE": str(RANKS),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }


@dataclass(frozen=True)
class Stamp:
    """A line of metrics, and where things stood when it appeared."""

    line: dict[str, Any]
    clock: float
    cpu_seconds: float
    children_cpu_seconds: float
    peak_bytes: int


class Children:
    """Processes below `roots`, with the CPU time that each had spent when it was last seen."""

    def __init__(self, roots: list[int]) -> None:
        self._roots = roots
        self._ticks: dict[int, int] = {}

    def cpu_seconds(self) -> float:
        parents, ticks = {}, {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            pid = int(path.parent.name)
            parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
        known = set(self._roots)
        while new := {pid for pid, parent in parents.items() if parent in known} - known:
            known |= new
        self._ticks |= {pid: ticks[pid] for pid in (known - set(self._roots)) & ticks.keys()}
        return sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK")


def stamped_lines(path: Path, ranks: Processes, children: Children) -> Iterator[Stamp]:
    """Each training line of `path`, until the ranks are done or one of them fails."""
    n_read = 0
    while all(rank.poll() in (None, 0) for rank in ranks):
        text = path.read_text() if path.exists() and path.stat().st_size > n_read else ""
        new = text[n_read : text.rfind("\n") + 1]
        n_read += len(new)
        below = children.cpu_seconds()
        for line in map(json.loads, new.splitlines()):
            if "loss" in line:
                clock, own = time.perf_counter(), cpu_seconds(ranks)
                yield Stamp(line, clock, own, below, peak_bytes(ranks))
        if all(rank.poll() == 0 for rank in ranks):
            return
        time.sleep(POLL_SECONDS)


def cpu_seconds(ranks: Processes) -> float:
    """User and system time of all ranks so far."""
    ticks = 0
    for rank in ranks:
        fields = Path(f"/proc/{rank.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_bytes(ranks: Processes) -> int:
    """`VmHWM`, the kernel's own record of a process's largest resident memory."""
    peaks = []
    for rank in ranks:
        status = Path(f"/proc/{rank.pid}/status").read_text()
        peaks.append(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
    return max(peaks)
