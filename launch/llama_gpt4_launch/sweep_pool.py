"""The devices of this host, and the trials that run on them side by side."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType

from llama_gpt4.errors import InputError, Preempted
from llama_gpt4.program import SIGNALS
from llama_gpt4_launch.local import visible_gpus
from llama_gpt4_launch.sweep_config import SweepConfig
from llama_gpt4_launch.sweep_curve import is_behind
from llama_gpt4_launch.sweep_trial import FINAL, Status, Trial, TrialProcess

POLL_SECONDS = 0.2


class Pool:
    """Devices that trials take, as many as each needs, and give back when they have ended.

    A signal goes to all trials; none is started after it.
    """

    def __init__(self, config: SweepConfig, on_change: Callable[[Trial], None]) -> None:
        self._config, self._on_change = config, on_change
        self._running: list[TrialProcess] = []
        self._seen: list[Trial] = []
        self._received: list[int] = []
        for number in SIGNALS:
            signal.signal(number, self._pass_on)

    def run(self, trials: Sequence[Trial], devices: Sequence[str], is_gpu: bool) -> None:
        """Run those that are not over, as far as a signal lets them; `on_change` hears of every
        start and end."""
        self._seen += [trial for trial in trials if trial not in self._seen]
        waiting = [trial for trial in trials if trial.status not in FINAL]
        free = list(devices)
        while (waiting and not self._received) or self._running:
            for trial in list(waiting):
                if trial.processes <= len(free) and not self._received:
                    taken, free = free[: trial.processes], free[trial.processes :]
                    environment = _environment(taken, len(devices), is_gpu)
                    waiting.remove(trial)
                    self._running.append(TrialProcess(trial, taken, environment))
                    self._on_change(trial)
            time.sleep(POLL_SECONDS)
            for process in list(self._running):
                if process.has_ended(self._config.hang_seconds):
                    self._running.remove(process)
                    free += process.devices
                    self._on_change(process.trial)
            self._stop_those_behind()
        if signal.SIGINT in self._received:
            raise KeyboardInterrupt
        if self._received:
            raise Preempted("trials are saved; the same command resumes the sweep")

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


def pool_devices(wanted: int | None, use_gpus: bool) -> tuple[list[str], bool]:
    """Names of the devices that trials share, and whether they are GPUs; without GPUs they stand
    for processes, as many as there are cores unless `wanted` says otherwise."""
    gpus = visible_gpus() if use_gpus else []
    if not gpus:
        cores = len(os.sched_getaffinity(0))
        return [str(slot) for slot in range(wanted or cores)], False
    if wanted is not None and wanted > len(gpus):
        raise InputError(
            f"sweep.devices={wanted}, but this host shows {len(gpus)} GPUs: take as many as there "
            "are, or train without by launch.device=cpu"
        )
    return gpus[:wanted], True


def _environment(devices: Sequence[str], n_devices: int, is_gpu: bool) -> dict[str, str]:
    """What a trial may use: its own GPUs, or its share of the cores."""
    environment = dict(os.environ)
    if is_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    else:
        threads = max(1, len(os.sched_getaffinity(0)) // n_devices)
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    return environment
