"""`llama-gpt4 train`, `reward` and `dpo`: one process a device on this host, started and
watched from here.

The configuration is resolved and the data are prepared once, before any of them exists.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from llama_gpt4.compose import require_consistent, run_config
from llama_gpt4.config import LaunchConfig
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.frozen_config import freeze
from llama_gpt4.help import wants_help
from llama_gpt4.program import SIGNALS, ExitReport, hold, run_program
from llama_gpt4.programs import PROGRAMS

GRACE_SECONDS = 20.0
"""How long the other processes may take to end after one has failed or Ctrl-C was pressed."""
BEFORE_TRAINING = {"config.yaml", "exit.json", "logs", ".lock"}
"""What is in a run directory in which nothing has happened yet."""


def main(argv: Sequence[str]) -> int:
    return start("train", argv)


def start(program: str, argv: Sequence[str]) -> int:
    """`llama-gpt4 <program> …`."""
    if "-m" in argv or "--multirun" in argv:
        from llama_gpt4_launch import sweep  # it imports this module

        return sweep.main([program, *argv])
    if wants_help(program, PROGRAMS[program].config_class(), argv):
        return ExitCode.DONE
    return run_program(program, lambda report: run(program, argv, report))


def run(program: str, arguments: Sequence[str], report: ExitReport) -> None:
    """Prepare the data in one process, then train in one process a device; exits with their code
    where that is not 0."""
    config = run_config(program, arguments)
    report.program = config.program
    if config.train.dry:
        dry = [sys.executable, "-m", "llama_gpt4.dry", *arguments]
        sys.exit(subprocess.run(dry).returncode)
    n = process_count(config.launch)
    require_consistent(config, n)
    run_dir = Path(config.run_dir)
    is_new = not run_dir.exists()
    # The processes inherit it: the directory stays theirs should this parent be killed.
    lock = hold(run_dir)
    frozen = freeze(config)
    (run_dir / "exit.json").unlink(missing_ok=True)
    report.run_dir = run_dir
    command = [sys.executable, "-m", PROGRAMS[config.program].module, "--resolved", str(frozen)]
    children = Processes(report, config.program)
    code = children.run([[*command, "--prepare"]], [dict(os.environ)], lock)
    if code is ExitCode.DONE:
        code = children.run([command] * n, _environments(n), lock)
    if code is ExitCode.DONE:
        return
    # The processes have said what went wrong; their parent passes their code on.
    report.write(code, children.last_words(code))
    if is_new:
        give_back(run_dir, code)
    sys.exit(code)


def give_back(run_dir: Path, code: ExitCode) -> None:
    """Remove a new run directory that bad input has left without anything of worth."""
    if code is ExitCode.BAD_INPUT and {p.name for p in run_dir.iterdir()} <= BEFORE_TRAINING:
        shutil.rmtree(run_dir)


class Processes:
    """Processes that live and die together: a signal goes to all of them at once, and when one
    fails the others are told to stop."""

    def __init__(self, report: ExitReport, program: str) -> None:
        self._report, self._program = report, program
        self._children: list[subprocess.Popen[bytes]] = []
        self._received: list[int] = []
        for number in SIGNALS:
            signal.signal(number, self._pass_on)

    def run(
        self, commands: list[list[str]], environments: list[dict[str, str]], lock: int
    ) -> ExitCode:
        """Start them; the worst code of all, once none is left."""
        self._children = []
        if not self._received:
            for command, environment in zip(commands, environments, strict=True):
                child = subprocess.Popen(command, env=environment, pass_fds=[lock])
                self._children.append(child)
        for number in self._received:  # it came while they were started
            self._send(number)
        ended_at: float | None = None
        while alive := [child for child in self._children if child.poll() is None]:
            self._report_kills()
            is_ending = signal.SIGINT in self._received or any(c.returncode for c in self._children)
            if ended_at is None and is_ending:
                ended_at = time.monotonic()
            waited = 0.0 if ended_at is None else time.monotonic() - ended_at
            if waited > GRACE_SECONDS:
                for child in alive:
                    child.kill()
            elif waited > GRACE_SECONDS / 2:
                self._send(signal.SIGTERM)
            time.sleep(0.05)
        self._report_kills()
        return self._worst_code()

    def _report_kills(self) -> None:
        """Say at once who was killed: the others fail for the loss of it and know less."""
        for rank, child in enumerate(self._children):
            if child.returncode is None or child.returncode >= 0 or self._received:
                continue
            name = signal.Signals(-child.returncode).name
            hint = " (is the host out of memory?)" if -child.returncode == signal.SIGKILL else ""
            who = f"process {rank} of {len(self._children)}"
            message = f"{who} was ended by {name}{hint}"
            if self._report.write(ExitCode.BUG, message):
                # On a line of its own: the progress bar that stood there will not end it.
                print(f"\nllama-gpt4 {self._program}: {message}", file=sys.stderr, flush=True)

    def last_words(self, code: ExitCode) -> str:
        """For `exit.json`, where none of them lived long enough to write it."""
        if signal.SIGINT in self._received:
            return "interrupted"
        if code is ExitCode.PREEMPTED:
            return "asked to stop; there was nothing to save yet"
        return "ended without a report: the terminal or the logs have the last lines"

    def _worst_code(self) -> ExitCode:
        codes = [child.returncode for child in self._children]
        if signal.SIGINT in self._received:
            return ExitCode.BUG
        if ExitCode.BAD_INPUT in codes:
            return ExitCode.BAD_INPUT
        # Those who were asked to stop before they could listen have nothing to save either.
        is_cut_off = self._received and (not codes or min(codes) < 0)
        if ExitCode.PREEMPTED in codes or is_cut_off:
            return ExitCode.PREEMPTED
        return ExitCode.BUG if any(codes) else ExitCode.DONE

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._received.append(number)
        is_repeated = self._received.count(signal.SIGINT) > 1
        self._send(signal.SIGKILL if is_repeated else number)

    def _send(self, number: int) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(number)


def process_count(config: LaunchConfig) -> int:
    """`launch.processes`, or one for every GPU that this user may see; 1 without any."""
    gpus = len(visible_gpus()) if config.device != "cpu" else 0
    wanted = max(1, gpus) if config.processes is None else config.processes
    if config.device == "cuda" and wanted > gpus:
        raise InputError(
            f"launch.device=cuda, but this host shows {gpus or 'no'} GPUs for launch.processes="
            f"{wanted}: start as many as there are, or train without by launch.device=cpu"
        )
    return wanted


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


def visible_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them; found without importing torch, which takes seconds."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    nodes = [path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()]
    return [str(index) for index in range(len(nodes))]
