"""What hosts say of themselves, held against each other and against what a training needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llama_gpt4_launch.doctor_config import DoctorConfig
from llama_gpt4_launch.doctor_probe import Answer

MAX_SKEW_SECONDS = 1.0
"""By how much clocks may differ: logs are read side by side, and the times of files compared."""


@dataclass(frozen=True)
class Check:
    """A line of the table."""

    name: str
    is_good: bool
    text: str


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


def _gpus(names: list[str]) -> str:
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or "none"


def _named(hosts: list[str]) -> str:
    more = f" and {len(hosts) - 4} more" if len(hosts) > 4 else ""
    return ", ".join(hosts[:4]) + more
