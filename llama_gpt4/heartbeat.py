"""Each process of a run says where it is; where nothing moves any more, one report says who stands.

A rank that hangs holds all others up in the next collective operation, where each would wait for
half an hour and then blame the network. So each rank has a thread that writes its heartbeat every
`BEAT_SECONDS`, `run_dir/heartbeats/rank-<n>.json`: its step and phase, how many collectives it has
begun, for how long nothing has moved, and from then on the stack of the thread that trains. Nobody
reads these files while training goes on. A rank that has not moved for `launch.hang_seconds` reads
all of them:

- whose file does not change any more is stopped, or its host is;
- else who has begun the fewest collectives stands; all others wait for it in their next one;
- else all wait in the same one, and the network or a device between them is at fault.

That needs no clock that hosts agree on, nor a network beyond the shared run directory. The first to
know writes `run_dir/hang.txt` with the stacks of all ranks and prints those of the culprits; then
all end.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

from llama_gpt4.deepspeed_command import DeepSpeedCommand
from llama_gpt4.errors import ExitCode
from llama_gpt4.program import ExitReport
from llama_gpt4.ranks import Ranks

BEAT_SECONDS = 2.0
SILENT_BEATS = 5
"""Beats without a change of its file after which a rank counts as stopped."""
SHOWN_CALLS = 10
"""Of a culprit's stack on the terminal; the file has all."""


@dataclass(frozen=True)
class Beat:
    """What a rank says of itself."""

    rank: int
    host: str
    pid: int
    number: int
    """Of this beat, from 1."""
    step: int
    phase: str
    collectives: int
    """Collective operations begun in all its process groups."""
    last_collective: str
    """Its name, where torch knows it and the rank stands still."""
    still_seconds: float
    stack: list[str] = field(default_factory=list)
    """Of the thread that trains, innermost call last; empty while it moves."""


class Heartbeat:
    """That of this process, from entering to leaving.

    It also takes the loss of the `deepspeed` command for a request to save and stop.
    """

    def __init__(
        self,
        run_dir: Path,
        ranks: Ranks,
        report: ExitReport,
        hang_seconds: float,
        command: DeepSpeedCommand,
    ) -> None:
        self._run_dir, self._ranks, self._report = run_dir, ranks, report
        self._hang_seconds = hang_seconds
        self._beat_seconds = min(BEAT_SECONDS, hang_seconds / 4)
        self._command = command
        self._trains = threading.get_ident()
        self._number = 0
        self._position: tuple[int, int] | None = None
        self._moved_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._beat()  # in place of what an earlier start has left
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        is_asked_to_stop = False
        while not self._ended.wait(self._beat_seconds):
            if not is_asked_to_stop and self._command.is_gone:
                is_asked_to_stop = True
                os.kill(os.getpid(), signal.SIGTERM)
            if self._beat().still_seconds >= self._hang_seconds:
                self._explain()

    def _beat(self) -> Beat:
        progress, collectives = self._ranks.progress, collectives_begun()
        now, position = time.monotonic(), (progress.moves, collectives)
        if position != self._position:
            self._position, self._moved_at = position, now
        still = now - self._moved_at
        self._number += 1
        beat = Beat(
            rank=self._ranks.rank,
            host=self._ranks.host,
            pid=os.getpid(),
            number=self._number,
            step=progress.step,
            phase=progress.phase,
            collectives=collectives,
            last_collective=last_collective() if still >= self._hang_seconds else "",
            still_seconds=round(still, 1),
            stack=self._stack() if still else [],
        )
        self._store(beat)
        return beat

    def _store(self, beat: Beat) -> None:
        path = beat_file(self._run_dir, beat.rank)
        aside = path.with_suffix(".partial")
        try:
            path.parent.mkdir(exist_ok=True)
            aside.write_text(json.dumps(asdict(beat), indent=1) + "\n")
            aside.replace(path)
        except OSError:
            pass  # storage that hiccups must not end a run

    def _stack(self) -> list[str]:
        return traceback.format_stack(sys._current_frames()[self._trains])

    def _explain(self) -> None:
        """Nothing has moved for too long: say who stands, and end."""
        before = self._beats()
        for _ in range(SILENT_BEATS):
            time.sleep(self._beat_seconds)
            if self._ended.is_set() or self._beat().still_seconds < self._hang_seconds:
                return  # it went on after all
        after = self._beats()
        silent = {rank for rank, beat in after.items() if before.get(rank) == beat}
        message, culprits = explanation(after, silent, self._ranks.world_size, self._hang_seconds)
        path = self._run_dir / "hang.txt"
        message += (
            f". The stacks of all ranks are in {path}; the same command resumes from the last"
        )
        message += " checkpoint"
        if self._report.write(ExitCode.BUG, message):
            whole = "".join(described(beat) for _, beat in sorted(after.items()))
            path.write_text(f"{message}\n\n{whole}")
            shown = [described(after[rank], SHOWN_CALLS) for rank in culprits if rank in after]
            program = self._report.program or "train"
            lines = [f"\nllama-gpt4 {program}: {message}", *shown]
            print(*lines, sep="\n", file=sys.stderr, flush=True)
        os._exit(ExitCode.BUG)  # the thread that trains cannot be reached

    def _beats(self) -> dict[int, Beat]:
        """The last one of each rank that has a readable one."""
        found = {}
        for rank in range(self._ranks.world_size):
            try:
                found[rank] = Beat(**json.loads(beat_file(self._run_dir, rank).read_text()))
            except (OSError, ValueError, TypeError):
                continue
        return found


def beat_file(run_dir: Path, rank: int) -> Path:
    """Where a rank's heartbeat is."""
    return run_dir / "heartbeats" / f"rank-{rank:05d}.json"


def explanation(
    beats: dict[int, Beat], silent: set[int], world_size: int, seconds: float
) -> tuple[str, list[int]]:
    """Who stands, in words, and by rank: nobody where all wait for each other."""
    start = f"nothing has moved for {seconds:g} s (launch.hang_seconds)"
    stopped = sorted(silent | set(range(world_size)) - beats.keys())
    if stopped:
        who = ", ".join(place(rank, beats.get(rank), "last seen in ") for rank in stopped)
        return f"{start}, and no sign of life comes from {who}: stopped, or its host is", stopped
    fewest = min(beat.collectives for beat in beats.values())
    behind = [rank for rank, beat in sorted(beats.items()) if beat.collectives == fewest]
    others = [beat for beat in beats.values() if beat.collectives > fewest]
    who = ", ".join(place(rank, beats[rank]) for rank in behind)
    if others or world_size == 1:
        waiting = f", while the others wait in {others[0].last_collective}" if others else ""
        return f"{start}: {who} stands{waiting}", behind
    return (
        f"{start}: all ranks wait for each other in the same collective "
        f"({who}), so look at the network, or at a device between them",
        [],
    )


def place(rank: int, beat: Beat | None, seen: str = "") -> str:
    """A rank in words: its host, step and phase, where it has said them; `seen` says how old that
    is."""
    if beat is None:
        return f"rank {rank}"
    return f"rank {rank} on {beat.host} ({seen}step {beat.step}, {beat.phase})"


def described(beat: Beat, calls: int = 0) -> str:
    """What a rank said last, with its stack, or the innermost `calls` of it."""
    moves = f"still for {beat.still_seconds:.0f} s" if beat.stack else "moving when it last wrote"
    head = (
        f"{place(beat.rank, beat)}, process {beat.pid}, {beat.collectives} collectives begun"
        f"{f', the last {beat.last_collective}' if beat.last_collective else ''}, "
        f"{moves}:\n"
    )
    return head + "".join(beat.stack[-calls:]) + "\n"


def collectives_begun() -> int:
    """By the counters that torch keeps in each process group."""
    groups: list[Any] = list(dist.distributed_c10d._world.pg_map)
    return sum(int(group._get_sequence_number_for_group()) for group in groups)


def last_collective() -> str:
    """The name of the last one, as torch's flight recorder has it; empty where it has none."""
    recorder: Any = torch._C._distributed_c10d
    for dump in ("_dump_nccl_trace_json", "_dump_fr_trace_json"):
        if hasattr(recorder, dump):
            entries = json.loads(getattr(recorder, dump)(True, False)).get("entries")
            if entries:
                return str(entries[-1]["profiling_name"])
    return ""
