"""One trial of a sweep: its training, what has become of it, and the processes that run it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import ExitCode
from llama_gpt4.files import write_json
from llama_gpt4.frozen_config import config_hash, freeze, load_resolved
from llama_gpt4.program import end_with_parent
from llama_gpt4.programs import PROGRAMS
from llama_gpt4_launch import ssh
from llama_gpt4_launch.sweep_curve import Curve
from llama_gpt4_launch.sweep_slots import Slot, hosts_of
from llama_gpt4_launch.watch import is_anyone_there, request_stop

CLI = (sys.executable, "-m", "llama_gpt4_launch.cli")
LAUNCH = (sys.executable, "-m", "llama_gpt4_launch.cli", "launch", "torchrun")
"""On other hosts: torchrun leaves CUDA_VISIBLE_DEVICES as it is, DeepSpeed's launcher does not."""
SAVE_SECONDS = 120.0
"""How long processes that were asked to stop may take to save before they are killed."""
OUR_WORDS = re.compile(f"llama-gpt4 (?:{'|'.join([*PROGRAMS, 'launch'])}): (.*)")
REAP_SECONDS = 5.0
"""How long the system may take to clear away killed processes."""


class Status(StrEnum):
    """What has become of a trial, in the order of tables. `done` and `behind` are final; the next
    start resumes the rest."""

    DONE = "done"
    BEHIND = "behind"
    PREEMPTED = "preempted"
    HUNG = "hung"
    FAILED = "failed"
    RUNNING = "running"
    WAITING = "waiting"


FINAL = (Status.DONE, Status.BEHIND)
OVER = (*FINAL, Status.HUNG, Status.FAILED)
"""What no trial of a sweep at its end goes beyond by itself."""
STATUSES: dict[int, Status] = {ExitCode.DONE: Status.DONE, ExitCode.PREEMPTED: Status.PREEMPTED}
"""By exit code; any other is a failure."""


@dataclass
class Trial:
    """A training run of a sweep."""

    name: str
    """What is swept, `key=value,key=value`: its run directory, and its run in Weights & Biases."""
    swept: dict[str, str]
    config: RunConfig
    processes: int
    """Devices that it takes."""
    status: Status = Status.WAITING
    message: str = ""
    """Why it is not done."""
    code: ExitCode = ExitCode.DONE
    seconds: float = 0.0
    curve: Curve = field(init=False)

    def __post_init__(self) -> None:
        validation = self.config.data.validation
        metric = "eval_loss" if validation.files or validation.share else "loss"
        self.curve = Curve(self.run_dir / "metrics.jsonl", metric)

    @property
    def run_dir(self) -> Path:
        return Path(self.config.run_dir)

    def lowest_by(self, step: int) -> float | None:
        """The lowest loss up to `step`, of a trial that is over up to its end; None before that."""
        is_there = self.status in FINAL or self.curve.last_step >= step
        return self.curve.lowest(step) if is_there else None

    def recall(self) -> bool:
        """Whether an earlier start has brought this very training to its end; if so, how. Of one
        that nobody led to its end, also what it said last."""
        path = self.run_dir / "trial.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        if kept.get("training") == _identity(self.config):
            self.status, self.message = Status(kept["status"]), kept["message"]
            self.seconds = kept["seconds"]
        else:
            self._recall_own_words()
        is_over = self.status in FINAL
        if is_over:
            self.curve.update()
        return is_over

    def _recall_own_words(self) -> None:
        said, frozen = self.run_dir / "exit.json", self.run_dir / "config.yaml"
        if not said.exists() or _identity(load_resolved(frozen)) != _identity(self.config):
            return
        try:
            words = json.loads(said.read_text())
            code, message = words["code"], words["message"]
        except (ValueError, KeyError, TypeError):  # just being written, by a run that is ending
            return
        self.status = STATUSES.get(code, Status.FAILED)
        self.message = "" if self.status is Status.DONE else message
        self.seconds = said.stat().st_mtime - frozen.stat().st_mtime  # both are of one start

    def freeze(self) -> None:
        """Write down what it is, and forget how an earlier start has ended."""
        freeze(self.config)
        (self.run_dir / "exit.json").unlink(missing_ok=True)

    def conclude(self, status: Status, message: str, seconds: float, code: ExitCode) -> None:
        """Say what has become of it; the next start recalls what is final."""
        self.status, self.message, self.seconds, self.code = status, message, seconds, code
        self.curve.update()
        if status in FINAL:
            kept = {"training": _identity(self.config), "status": status, "message": message}
            write_json(self.run_dir / "trial.json", {**kept, "seconds": seconds})


def _identity(config: RunConfig) -> str:
    # Its length and whether it is a dry run make no other run directory, but another end.
    return f"{config_hash(config)} {config.train}"


class TrialProcess:
    """A trial under way: a session of processes of its own, which our launcher leads."""

    def __init__(
        self,
        trial: Trial,
        slots: Sequence[Slot],
        place: Sequence[str],
        environment: dict[str, str],
    ) -> None:
        """`place`: keys of the launcher where the slots are on other hosts."""
        self.trial, self.slots = trial, slots
        self._hosts = hosts_of(slots)
        self._frozen = trial.run_dir / "config.yaml"
        command = [*LAUNCH, *place, "--"] if self._hosts else [*CLI, trial.config.program]
        logs = trial.run_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self._log = logs / "launcher.log"
        self._before = self._log.stat().st_size if self._log.exists() else 0
        self._verdict: tuple[Status, str] | None = None
        self._asked_at: float | None = None
        self._is_killed = False
        self._began = self._moved_at = time.monotonic()
        self._seen = self._size()
        trial.status = Status.RUNNING
        with open(self._log, "ab") as log:
            self._leader = subprocess.Popen(
                [*command, "--resolved", str(self._frozen)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,  # a killed sweep would leave it running
            )

    def send(self, number: int) -> None:
        """A signal for its launcher, which passes it on."""
        if self._leader.poll() is None:
            self._leader.send_signal(number)

    def stop(self, status: Status, message: str) -> None:
        """Let it save and end; it ends as `status`."""
        if self._verdict is None:
            self._verdict = status, message
            self.send(signal.SIGTERM)

    def has_ended(self, hang_seconds: float | None) -> bool:
        """Whether none of its processes is left; then the trial knows what has become of it."""
        if self._leader.poll() is None:
            self._end_if_hung(hang_seconds)
            if self._asked_at is not None:
                self._end_group()
            return False
        if self._is_left_alone() and not self._end_group():
            return False
        self._conclude()
        return True

    def _is_left_alone(self) -> bool:
        """Whether anything goes on without its launcher, which was killed."""
        if self._hosts and self._leader.returncode < 0:
            return is_anyone_there(self.trial.run_dir)
        return self._signal_group(0)

    def _end_if_hung(self, hang_seconds: float | None) -> None:
        now, size = time.monotonic(), self._size()
        if size != self._seen:
            self._seen, self._moved_at = size, now
        if hang_seconds is not None and now - self._moved_at > hang_seconds:
            message = f"no line of metrics for {hang_seconds:g} s (sweep.hang_seconds)"
            self._verdict = self._verdict or (Status.HUNG, message)
            self._end_group()

    def _end_group(self) -> bool:
        """Ask all its processes to stop, kill them when they do not; whether that is over."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            self._signal_group(signal.SIGTERM)
            if self._hosts:
                request_stop(self.trial.run_dir)
        waited = now - self._asked_at
        if waited > SAVE_SECONDS:
            self._signal_group(signal.SIGKILL)
            if not self._is_killed:
                ssh.kill(self._hosts, self._frozen)
            self._is_killed = True
        # Where nobody reaps orphans, what was killed counts as there for ever.
        return waited > SAVE_SECONDS + REAP_SECONDS

    def _signal_group(self, number: int) -> bool:
        """Whether there was any process to take it."""
        try:
            os.killpg(self._leader.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _conclude(self) -> None:
        code = self._leader.returncode
        if code == ExitCode.DONE:
            status, message = Status.DONE, ""
        elif self._verdict is not None:
            status, message = self._verdict
        else:
            status, message = STATUSES.get(code, Status.FAILED), self._last_words()
        seconds = time.monotonic() - self._began
        known = code in (ExitCode.DONE, ExitCode.BAD_INPUT, ExitCode.PREEMPTED)
        self.trial.conclude(status, message, seconds, ExitCode(code) if known else ExitCode.BUG)

    def _last_words(self) -> str:
        """What the training itself said about its end."""
        code = self._leader.returncode
        if code < 0:
            return f"its launcher was ended by {signal.Signals(-code).name}"
        with open(self._log, "rb") as file:
            file.seek(self._before)
            lines = file.read().decode(errors="replace").splitlines()
        said = [found[1] for line in lines if (found := OUR_WORDS.match(line))]
        return said[0] if said else f"ended with code {code}"

    def _size(self) -> int:
        path = self.trial.run_dir / "metrics.jsonl"
        return path.stat().st_size if path.exists() else 0
