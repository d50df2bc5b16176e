"""Trials side by side, on the devices of this host or of the hosts of a hostfile."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import FrameType

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import ExitCode, InputError, Preempted
from llama_gpt4.overrides import quoted
from llama_gpt4.program import SIGNALS
from llama_gpt4_launch import ssh
from llama_gpt4_launch.environment import secret_values, travelling
from llama_gpt4_launch.hostfile import as_text, read_hostfile
from llama_gpt4_launch.hosts import port_of
from llama_gpt4_launch.local import process_count
from llama_gpt4_launch.sweep_config import SweepConfig
from llama_gpt4_launch.sweep_curve import is_behind
from llama_gpt4_launch.sweep_slots import Slot, hosts_of, slots_here, slots_of, take
from llama_gpt4_launch.sweep_trial import FINAL, Status, Trial, TrialProcess

POLL_SECONDS = 0.2
DEVICES = "CUDA_VISIBLE_DEVICES"


class Pool:
    """Slots that trials take, as many as each needs, and give back when they have ended.

    A signal goes to all trials; none is started after it.
    """

    starts = True

    def __init__(self, config: SweepConfig) -> None:
        self._config = config
        self._slots: list[Slot] = []
        if config.hostfile is not None:
            hosts = read_hostfile(Path(config.hostfile))
            secret_values(config.environment, os.environ)
            ssh.require_reachable(hosts, sys.executable)
            self._slots = slots_of(hosts)
        self._running: list[TrialProcess] = []
        self._seen: list[Trial] = []
        self._ports: set[int] = set()
        self._received: list[int] = []
        for number in SIGNALS:
            signal.signal(number, self._pass_on)

    def processes(self, configs: Sequence[RunConfig]) -> list[int]:
        """How many each trial of a batch takes; `InputError` where there is no such room."""
        if self._config.hostfile is None:
            uses_gpus = any(config.launch.device != "cpu" for config in configs)
            self._slots = slots_here(self._config.devices, uses_gpus)
        elif not self._slots:
            raise InputError(f"no host of {self._config.hostfile} can be reached any more")
        counts = [self._count(config) for config in configs]
        for n in counts:
            if not take(self._slots, n):
                raise InputError(self._too_many(n))
        return counts

    def ready(self, trials: Sequence[Trial]) -> None:
        """Freeze what each trial is, before any of them starts."""
        for trial in trials:
            trial.freeze()

    def run(self, trials: Sequence[Trial], on_change: Callable[[Trial], None]) -> None:
        """Run those that are not over, as far as a signal lets them; `on_change` hears of every
        start and end."""
        self._seen += [trial for trial in trials if trial not in self._seen]
        waiting = [trial for trial in trials if trial.status not in FINAL]
        free = list(self._slots)
        while (waiting and not self._received) or self._running:
            for trial in list(waiting):
                if not self._received and (taken := take(free, trial.processes)):
                    for slot in taken:
                        free.remove(slot)
                    waiting.remove(trial)
                    self._running.append(self._start(trial, taken))
                    on_change(trial)
            time.sleep(POLL_SECONDS)
            for process in list(self._running):
                if process.has_ended(self._config.hang_seconds):
                    self._running.remove(process)
                    # Not those of a host that was lost under another trial.
                    free += [slot for slot in process.slots if slot in self._slots]
                    on_change(process.trial)
                    if process.trial.status is Status.FAILED:
                        free = self._without_lost(process, free)
            for trial in list(waiting):
                if not take(self._slots, trial.processes):
                    waiting.remove(trial)
                    trial.conclude(Status.FAILED, "no host is left for it", 0, ExitCode.BUG)
                    on_change(trial)
            self._stop_those_behind()
        if signal.SIGINT in self._received:
            raise KeyboardInterrupt
        if self._received:
            raise Preempted("trials are saved; the same command resumes the sweep")

    def _count(self, config: RunConfig) -> int:
        """`launch.processes`; by default one for every GPU of a host, or a single one on cores."""
        wanted = config.launch.processes
        if hosts := hosts_of(self._slots):
            return wanted or min(host.slots for host in hosts)
        gpus = len([slot for slot in self._slots if slot.device is not None])
        return process_count(replace(config.launch, processes=wanted or gpus or 1))

    def _too_many(self, n: int) -> str:
        if hosts := hosts_of(self._slots):
            there = ", ".join(str(host.slots) for host in hosts)
            return (
                f"launch.processes={n} fits no host of {self._config.hostfile}, nor several whole "
                f"ones: they have {there} slots"
            )
        return (
            f"launch.processes={n} is more than the {len(self._slots)} devices that the trials "
            "share: raise sweep.devices, or lower it"
        )

    def _start(self, trial: Trial, slots: list[Slot]) -> TrialProcess:
        environment = dict(os.environ)
        devices = [slot.device for slot in slots if slot.device is not None]
        hosts = hosts_of(slots)
        if devices and len(hosts) <= 1:
            environment[DEVICES] = ",".join(devices)
        if not hosts:
            if not devices:
                threads = max(1, len(os.sched_getaffinity(0)) // len(self._slots))
                environment.setdefault("OMP_NUM_THREADS", str(threads))
            return TrialProcess(trial, slots, [], environment)
        port = next(n for n in count(port_of(str(trial.run_dir))) if n not in self._ports)
        self._ports.add(port)
        travels = travelling(self._config.environment)
        names = [*travels, *([DEVICES] if len(hosts) == 1 else [])]
        place = [
            f"hostfile={quoted(str(_write_hostfile(trial, slots)))}",
            f"master_port={port}",
            # By name, with their values where the launcher looks for them.
            f"environment.variables=[{','.join(names)}]",
            f"environment.secrets=[{','.join(self._config.environment.secrets)}]",
        ]
        return TrialProcess(trial, slots, place, environment | travels)

    def _without_lost(self, process: TrialProcess, free: list[Slot]) -> list[Slot]:
        """Where a trial has failed for its host, that host takes no other one with it."""
        lost = ssh.unreachable(hosts_of(process.slots), sys.executable)
        for fault in lost.values():
            print(f"{fault}: no trial goes there any more", file=sys.stderr, flush=True)
        self._slots = [slot for slot in self._slots if slot.host not in lost]
        return [slot for slot in free if slot.host not in lost]

    def _stop_those_behind(self) -> None:
        after_steps = self._config.median_after_steps
        if after_steps is None:
            return
        for process in self._running:
            trial = process.trial
            if not trial.curve.update():
                continue
            step = trial.curve.last_step
            lowest = [other.lowest_by(step) for other in self._seen if other is not trial]
            reached = [value for value in lowest if value is not None]
            if is_behind(trial.curve, reached, after_steps):
                process.stop(Status.BEHIND, f"behind the median of the others at step {step}")

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._received.append(number)
        for process in self._running:
            process.send(number)


def _write_hostfile(trial: Trial, slots: Sequence[Slot]) -> Path:
    """What a trial takes of each host, for its launcher."""
    taken = [slot.host for slot in slots]
    hosts = [replace(host, slots=taken.count(host)) for host in hosts_of(slots)]
    path = trial.run_dir / "hostfile"
    path.write_text(as_text(hosts))
    return path
