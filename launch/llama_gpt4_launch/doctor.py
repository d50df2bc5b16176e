"""`llama-gpt4 doctor`: is everything ready for a training on these hosts?

One probe (`llama_gpt4.probe`) on each host, all at once, over ssh where there is a hostfile. Each
says what it has; then the processes of a training meet and add up tensors. What differs between
hosts, or is missing, is red, and the exit code is 2.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from llama_gpt4.compose import compose
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.help import wants_help
from llama_gpt4.program import ExitReport, run_program, show
from llama_gpt4.records import is_path
from llama_gpt4_launch.doctor_checks import Check, fact_checks, reached
from llama_gpt4_launch.doctor_config import DoctorConfig
from llama_gpt4_launch.doctor_probe import THIS_HOST, Answer, Probe
from llama_gpt4_launch.environment import travelling
from llama_gpt4_launch.hostfile import Host, read_hostfile

CPU_BYTES, GPU_BYTES = 64 * 2**20, 256 * 2**20
"""What each process adds up: networks are at their speed with large messages only."""


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
    return Check(backend, True, _speed(n, len(hosts), n_bytes, answers[0]["seconds"]))


def _speed(n: int, n_hosts: int, n_bytes: int, seconds: float) -> str:
    # What crosses each process's link in a ring, the usual measure.
    gb_per_second = 2 * (n - 1) / n * n_bytes / seconds / 1e9
    return (
        f"{n} processes on {n_hosts} host{'s' * (n_hosts > 1)} add up "
        f"{n_bytes // 2**20} MiB in {1000 * seconds:,.1f} ms, {gb_per_second:,.2f} GB/s of each"
    )


def _master(config: DoctorConfig, hosts: list[Host]) -> str:
    if config.master_address is not None:
        return config.master_address
    return "127.0.0.1" if hosts[0] is THIS_HOST else hosts[0].name.rpartition("@")[2]


def _absolute(name: str) -> str:
    return os.path.abspath(os.path.expanduser(name)) if is_path(name) else name
