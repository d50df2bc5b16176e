"""`llama-gpt4 doctor`: is everything ready for a training on these hosts?

One probe (`llama_gpt4.probe`) on each host, all at once, over ssh where there is a hostfile. Each
says what it has; then the processes of a training meet and add up tensors. What differs between
hosts, or is missing, is red, and the exit code is 2.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_gpt4.compose import compose
from llama_gpt4.errors import ExitCode, InputError, require, require_one_of
from llama_gpt4.help import wants_help
from llama_gpt4.program import ExitReport, run_program, show
from llama_gpt4.records import is_path
from llama_gpt4_launch.environment import EnvironmentConfig, travelling
from llama_gpt4_launch.hostfile import Host, read_hostfile
from llama_gpt4_launch.ssh import OPTIONS

THIS_HOST = Host("this host", 0)
CLOSE_SECONDS = 5
MAX_SKEW_SECONDS = 1.0
"""By how much clocks may differ: logs are read side by side, and the times of files compared."""
CPU_BYTES, GPU_BYTES = 64 * 2**20, 256 * 2**20
"""What each process adds up: networks are at their speed with large messages only."""

Answer = dict[str, Any]


@dataclass(kw_only=True)
class DataFiles:
    files: list[str]
    """Files of records that must be the same, byte for byte, on all hosts."""


@dataclass(kw_only=True)
class DoctorConfig:
    """Which hosts are looked at, and what they must have."""

    hostfile: str | None
    """DeepSpeed's hostfile, a line like `worker-1 slots=8` for each host; null: this host alone."""
    processes: int | None
    """Processes that meet on this host where there is no hostfile; null: one for every GPU, or 2
    without any."""
    device: str
    """`cpu`, `cuda`, or `auto`: CUDA where every host has it."""
    run_dir: str
    """Where runs will write: the disk that must have room."""
    data: DataFiles
    master_address: str | None
    """Where the other hosts find the first one; null: by its name in the hostfile."""
    master_port: int
    """Where processes meet; nobody else may listen there."""
    min_free_gb: float
    """Room that the disk must have. Training counts what it will write, and refuses by itself."""
    timeout_seconds: float
    """How long a host may take for an answer, and the processes to meet."""
    environment: EnvironmentConfig

    def __post_init__(self) -> None:
        require_one_of("device", self.device, ("auto", "cpu", "cuda"))
        if self.processes is not None:
            require(self.processes > 0, f"processes={self.processes} must be positive")
            require(
                self.hostfile is None,
                "processes is for this host alone: the slots in the hostfile say it for its hosts",
            )
        port = self.master_port
        require(0 < port < 2**16, f"master_port={port} is not within 1 to 65535")
        require(self.min_free_gb >= 0, f"min_free_gb={self.min_free_gb} is negative")
        require(
            self.timeout_seconds > 0, f"timeout_seconds={self.timeout_seconds} must be positive"
        )


@dataclass(frozen=True)
class Check:
    """A line of the table."""

    name: str
    is_good: bool
    text: str


def main(argv: Sequence[str]) -> int:
    if wants_help("doctor", DoctorConfig, argv):
        return ExitCode.DONE
    return run_program("doctor", lambda report: run(argv, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Look at all hosts and print the table; `InputError` where a line of it is red."""
    config = compose(DoctorConfig, "doctor", arguments)
    hosts = [THIS_HOST] if config.hostfile is None else read_hostfile(Path(config.hostfile))
    checks = examine(config, hosts)
    show("".join(f"{line}\n" for line in table(checks, sys.stdout.isatty())))
    red = [check.name for check in checks if not check.is_good]
    if red:
        raise InputError(f"{len(red)} of {len(checks)} checks are red: {', '.join(red)}")


def table(checks: Sequence[Check], has_colours: bool) -> Iterator[str]:
    width = max(len(check.name) for check in checks)
    for check in checks:
        state, colour = ("ok ", 32) if check.is_good else ("RED", 31)
        yield (f"\033[{colour}m{state}\033[0m" if has_colours else state) + (
            f"  {check.name:<{width}}  {check.text}"
        )


def examine(config: DoctorConfig, hosts: list[Host]) -> list[Check]:
    """All checks in the order of the table."""
    variables = travelling(config.environment)
    with ExitStack() as stack, ThreadPoolExecutor(len(hosts)) as threads:
        probes = [Probe(host, variables, config.timeout_seconds) for host in hosts]
        for probe in probes:
            stack.callback(probe.close)
        skews = list(threads.map(Probe.skew_seconds, probes))
        asked = {
            "run_dir": os.path.abspath(config.run_dir),
            "files": [_absolute(name) for name in config.data.files],
            "port": config.master_port,
        }
        answers = list(threads.map(lambda probe: probe.ask("facts", **asked), probes))
        names = [host.name for host in hosts]
        checks = [reached(dict(zip(names, answers, strict=True)))]
        facts = {name: a for name, a in zip(names, answers, strict=True) if "error" not in a}
        if facts:
            clocks = {name: s for name, s in zip(names, skews, strict=True) if name in facts}
            checks += fact_checks(config, facts, clocks)
        # Those that are there would only wait for those that are not.
        if len(facts) == len(hosts):
            checks.append(meeting(config, hosts, list(facts.values()), probes, threads))
        return checks


class Probe:
    """`llama_gpt4.probe` on one host. An answer with `error` says what went wrong there."""

    def __init__(self, host: Host, variables: dict[str, str], timeout_seconds: float) -> None:
        self._variables, self._timeout_seconds = variables, timeout_seconds
        self._fault = ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the probe)
        self._process = subprocess.Popen(
            _command(host), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )

    def ask(self, question: str, **arguments: Any) -> Answer:
        """What the host answers to `question`; what went wrong, where it does not in time."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"ask": question, "environment": self._variables, **arguments}
        late = threading.Timer(self._timeout_seconds, self._give_up)
        late.start()
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        late.cancel()
        if line:
            return json.loads(line)
        self._fault = self._fault or self._last_words()
        return {"error": self._fault}

    def _give_up(self) -> None:
        self._fault = f"no answer within {self._timeout_seconds:g} s"
        self._process.kill()

    def skew_seconds(self) -> float:
        """How far the host's clock is ahead of ours, by the quickest of three answers; NaN without
        any. The first takes as long as the probe does to start."""
        best, skew = float("inf"), float("nan")
        for _ in range(3):
            asked = time.time()
            answer = self.ask("clock")
            answered = time.time()
            if "error" in answer:
                break
            if answered - asked < best:
                best, skew = answered - asked, answer["seconds"] - (asked + answered) / 2
        return skew

    def close(self) -> None:
        """End it; it ends by itself when nobody can ask any more."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else f"it ended with exit code {self._process.returncode}"


def _command(host: Host) -> list[str]:
    probe = [sys.executable, "-m", "llama_gpt4.probe"]
    if host is THIS_HOST:
        return probe
    # As launchers do: the same interpreter on all hosts.
    return ["ssh", *OPTIONS, host.name, f"exec {shlex.join(probe)}"]


def reached(answers: Mapping[str, Answer]) -> Check:
    """Whether every host has answered."""
    faults = [f"{name}: {answer['error']}" for name, answer in answers.items() if "error" in answer]
    if faults:
        return Check("hosts", False, "; ".join(faults))
    return Check("hosts", True, f"{len(answers)} reached: {_named(list(answers))}")


def fact_checks(
    config: DoctorConfig, facts: Mapping[str, Answer], skews: Mapping[str, float]
) -> Iterator[Check]:
    """What the hosts say about themselves, by their names; see `llama_gpt4.probe.Facts`."""
    first = next(iter(facts.values()))
    for library in first["versions"]:
        yield same(library, {name: fact["versions"][library] for name, fact in facts.items()})
    yield code_check(facts)
    yield gpu_check(config.device, facts)
    yield same("driver", {name: fact["driver"] for name, fact in facts.items()})
    for key in first["operators"]:
        yield same(key, {name: fact["operators"][key] for name, fact in facts.items()})
    yield disk_check(config, facts)
    yield clock_check(skews)
    for file in first["files"]:
        yield file_check(file, {name: fact["files"][file] for name, fact in facts.items()})
    taken = [f"{name}: {fact['port']}" for name, fact in facts.items() if fact["port"] != "free"]
    yield Check(f"port {config.master_port}", not taken, "; ".join(taken) or "free")


def same(name: str, values: Mapping[str, str]) -> Check:
    """Whether all hosts have the same value."""
    hosts_of: dict[str, list[str]] = {}
    for host, value in values.items():
        hosts_of.setdefault(value, []).append(host)
    if len(hosts_of) == 1:
        return Check(name, True, next(iter(hosts_of)))
    parts = [f"{value} on {_named(hosts)}" for value, hosts in hosts_of.items()]
    return Check(name, False, "; ".join(parts))


def code_check(facts: Mapping[str, Answer]) -> Check:
    """Whether our own files are the same, whatever git says: it may be missing, or not asked."""
    differs = same("code", {name: fact["code"] for name, fact in facts.items()})
    if differs.is_good:
        return Check("code", True, next(iter(facts.values()))["commit"])
    return same(
        "code", {name: f"{fact['commit']} ({fact['code'][:8]})" for name, fact in facts.items()}
    )


def gpu_check(device: str, facts: Mapping[str, Answer]) -> Check:
    """Whether all hosts have the same GPUs; none are needed on the CPU."""
    check = same("gpus", {name: _gpus(fact["gpus"]) for name, fact in facts.items()})
    without = [name for name, fact in facts.items() if not fact["gpus"]]
    if device == "cuda" and without:
        return Check("gpus", False, f"device=cuda, and torch finds none on {_named(without)}")
    return Check(check.name, check.is_good or device == "cpu", check.text)


def disk_check(config: DoctorConfig, facts: Mapping[str, Answer]) -> Check:
    """Whether the disk of `run_dir` has room everywhere; shown is the fullest."""
    fullest = min(facts, key=lambda name: facts[name]["free_bytes"])
    free_gb = facts[fullest]["free_bytes"] / 1e9
    where = f" on {fullest}" if len(facts) > 1 else ""
    is_good = free_gb >= config.min_free_gb
    wanted = "" if is_good else f", less than min_free_gb={config.min_free_gb:g}"
    return Check("disk", is_good, f"{free_gb:,.1f} GB free for {config.run_dir}{where}{wanted}")


def clock_check(skews: Mapping[str, float]) -> Check:
    """Whether the clocks of all hosts agree with each other; shown is by how much against ours."""
    lowest, highest = min(skews, key=lambda n: skews[n]), max(skews, key=lambda n: skews[n])
    spread = skews[highest] - skews[lowest]
    if spread <= MAX_SKEW_SECONDS:
        return Check("clock", True, f"within {max(spread, 0.001):.3f} s")
    return Check("clock", False, f"{highest} is {spread:,.1f} s ahead of {lowest}: set its clock")


def file_check(file: str, digests: Mapping[str, str | None]) -> Check:
    """Whether a file of data is there, and the same, on all hosts."""
    without = [name for name, digest in digests.items() if digest is None]
    if without:
        return Check(file, False, f"cannot be read on {_named(without)}")
    return same(file, {name: f"sha256 {digest:.12}" for name, digest in digests.items()})


def meeting(
    config: DoctorConfig,
    hosts: list[Host],
    facts: list[Answer],
    probes: list[Probe],
    threads: ThreadPoolExecutor,
) -> Check:
    """The processes of a training, met for real, and how quickly they add up tensors."""
    has_gpus = all(fact["gpus"] for fact in facts)
    device = "cuda" if has_gpus and config.device != "cpu" else "cpu"
    backend = "nccl" if device == "cuda" else "gloo"
    counts = [
        host.slots or config.processes or (len(fact["gpus"]) if device == "cuda" else 2)
        for host, fact in zip(hosts, facts, strict=True)
    ]
    for host, fact, count in zip(hosts, facts, counts, strict=True):
        if device == "cuda" and count > len(fact["gpus"]):
            text = f"{host.name} has {len(fact['gpus'])} GPUs for {count} processes"
            return Check(backend, False, text)
    n, n_bytes = sum(counts), GPU_BYTES if device == "cuda" else CPU_BYTES
    if n == 1:
        return Check(backend, True, "one process, which needs to reach nobody")

    def meet(place: int) -> Answer:
        return probes[place].ask(
            "all_reduce",
            processes=counts[place],
            first_rank=sum(counts[:place]),
            world_size=n,
            address=_master(config, hosts),
            port=config.master_port,
            device=device,
            n_bytes=n_bytes,
            # Theirs ends first, as they know better than we do for whom they have waited.
            timeout_seconds=config.timeout_seconds / 2,
        )

    answers = list(threads.map(meet, range(len(hosts))))
    faults = [
        f"{host.name}: {answer['error'][:200]}"
        for host, answer in zip(hosts, answers, strict=True)
        if "error" in answer
    ]
    if faults:
        return Check(backend, False, "; ".join(faults))
    seconds = answers[0]["seconds"]
    # What crosses each process's link in a ring, the usual measure.
    gb_per_second = 2 * (n - 1) / n * n_bytes / seconds / 1e9
    return Check(
        backend,
        True,
        f"{n} processes on {len(hosts)} host{'s' * (len(hosts) > 1)} add up "
        f"{n_bytes // 2**20} MiB in {1000 * seconds:,.1f} ms, {gb_per_second:,.2f} GB/s of each",
    )


def _master(config: DoctorConfig, hosts: list[Host]) -> str:
    if config.master_address is not None:
        return config.master_address
    return "127.0.0.1" if hosts[0] is THIS_HOST else hosts[0].name.rpartition("@")[2]


def _gpus(names: list[str]) -> str:
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or "none"


def _named(hosts: list[str]) -> str:
    more = f" and {len(hosts) - 4} more" if len(hosts) > 4 else ""
    return ", ".join(hosts[:4]) + more


def _absolute(name: str) -> str:
    return os.path.abspath(os.path.expanduser(name)) if is_path(name) else name
