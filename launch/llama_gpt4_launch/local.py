"""`llama-gpt4 train`: one process a device on this host, started and watched from here.

The configuration is resolved and the data are prepared once, before any of them exists.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from llama_gpt4.compose import compose_training, freeze
from llama_gpt4.config import LaunchConfig, TrainConfig
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.help import wants_help
from llama_gpt4.program import STOP_SIGNALS, ExitReport, run_program

GRACE_SECONDS = 20.0
"""How long the other processes may take to end after one has failed."""


def main(argv: Sequence[str]) -> int:
    if wants_help("train", TrainConfig, argv):
        return ExitCode.DONE
    return run_program("train", lambda report: run(argv, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    config = compose_training(arguments)
    frozen = freeze(config)
    Path(config.run_dir, "exit.json").unlink(missing_ok=True)
    program = [sys.executable, "-m"]
    prepared = Processes(
        [[*program, "llama_gpt4.prepare", "--resolved", str(frozen)]], [dict(os.environ)]
    ).wait()
    if prepared is ExitCode.DONE:
        n = _process_count(config.launch)
        command = [*program, "llama_gpt4.train", "--resolved", str(frozen)]
        prepared = Processes([command] * n, _environments(n)).wait()
    # The processes have said what went wrong; their parent only passes their code on.
    if prepared is not ExitCode.DONE:
        sys.exit(prepared)


class Processes:
    """Processes that live and die together: a signal goes to all of them at once, and when one
    fails the others are told to stop."""

    def __init__(self, commands: list[list[str]], environments: list[dict[str, str]]) -> None:
        self._asked_to_stop = False
        self._children = [
            subprocess.Popen(command, env=environment)
            for command, environment in zip(commands, environments, strict=True)
        ]
        for number in (*STOP_SIGNALS, signal.SIGINT):
            signal.signal(number, self._pass_on)

    def wait(self) -> ExitCode:
        """The worst code of all, once none is left; those that outlive a failure are ended."""
        failed_at: float | None = None
        while alive := [child for child in self._children if child.poll() is None]:
            if failed_at is None and any(child.returncode for child in self._children):
                failed_at = time.monotonic()
            if failed_at is not None:
                waited = time.monotonic() - failed_at
                for child in alive:
                    if waited > GRACE_SECONDS:
                        child.kill()
                    elif waited > GRACE_SECONDS / 2:
                        child.terminate()
            time.sleep(0.05)
        codes = [self._code_of(rank, child) for rank, child in enumerate(self._children)]
        worst = (ExitCode.BAD_INPUT, ExitCode.PREEMPTED, ExitCode.BUG)
        return next((code for code in worst if code in codes), ExitCode.DONE)

    def _code_of(self, rank: int, child: subprocess.Popen[bytes]) -> ExitCode:
        code = child.returncode
        if code < 0 and self._asked_to_stop:
            return ExitCode.PREEMPTED
        if code < 0 and -code in (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT):
            name = signal.Signals(-code).name
            hint = "; the host may be out of memory" if -code == signal.SIGKILL else ""
            print(f"llama-gpt4 train: process {rank} was ended by {name}{hint}", file=sys.stderr)
        return ExitCode(code) if code in iter(ExitCode) else ExitCode.BUG

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop = number in STOP_SIGNALS
        for child in self._children:
            if child.poll() is None:
                child.send_signal(number)


def _environments(processes: int) -> list[dict[str, str]]:
    """What each process needs to find the others; the same variables as torchrun's."""
    shared = {
        **os.environ,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _process_count(config: LaunchConfig) -> int:
    """`launch.processes`, or one for every GPU that this user may see; 1 without any."""
    gpus = _visible_gpus()
    if config.processes is None:
        return max(1, gpus) if config.device != "cpu" else 1
    if config.device == "cuda" and config.processes > gpus:
        raise InputError(
            f"launch.processes={config.processes} with launch.device=cuda, but this host shows "
            f"{gpus} GPUs"
        )
    return config.processes


def _visible_gpus() -> int:
    """Counted without importing torch, which takes seconds."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()])
