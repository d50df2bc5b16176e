"""`llama-gpt4 launch <where> … -- …`: the same training on this host, on the hosts of a hostfile,
in a Slurm job, or as a file for Kubernetes or SkyPilot.

The configuration is resolved and frozen and the data are prepared here, before any rank exists;
ranks read `run_dir/config.yaml`. Kubernetes and SkyPilot, whose storage is elsewhere, carry it
along and prepare the data there. `--print` shows what would be started, and starts nothing.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_gpt4.compose import compose, require_consistent, run_config
from llama_gpt4.config import RunConfig
from llama_gpt4.deepspeed_config import deepspeed_config
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.help import wants_help
from llama_gpt4.program import ExitReport, run_program, show
from llama_gpt4.programs import PROGRAMS, split_verb
from llama_gpt4_launch import hosts, kubernetes, local, skypilot, slurm, sweep
from llama_gpt4_launch.start import prepare_run
from llama_gpt4_launch.sweep_slurm import SlurmArray

PLACES: dict[str, tuple[type | None, str]] = {
    "local": (None, "the processes of this host, as `llama-gpt4 train` does"),
    "deepspeed": (hosts.DeepSpeedConfig, "DeepSpeed's launcher on the hosts of a hostfile"),
    "torchrun": (hosts.TorchrunConfig, "torchrun on the hosts of a hostfile"),
    "slurm": (slurm.SlurmConfig, "a batch job, requeued when it is preempted"),
    "kubernetes": (kubernetes.KubernetesConfig, "print a manifest for `kubectl apply -f -`"),
    "skypilot": (skypilot.SkyPilotConfig, "print a task for `sky jobs launch`"),
}


def main(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        show(_help())
        return ExitCode.DONE if argv else ExitCode.BAD_INPUT
    where, rest = argv[0], list(argv[1:])
    if where not in PLACES:
        known = ", ".join(PLACES)
        print(f"llama-gpt4 launch: {where} is not a place; there are {known}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    place = rest.index("--") if "--" in rest else len(rest)
    options, training = rest[:place], rest[place + 1 :]
    is_print = "--print" in options
    options = [option for option in options if option != "--print"]
    schema = PLACES[where][0]
    if schema is None and not is_print and not options:
        return local.start(*split_verb(training))
    if schema is not None and wants_help(f"launch/{where}", schema, options):
        return ExitCode.DONE
    return run_program("launch", lambda report: run(where, options, training, is_print, report))


def run(
    where: str, options: list[str], training: list[str], is_print: bool, report: ExitReport
) -> None:
    """Render, or start, the run of `training` overrides at the place `where` with its `options`."""
    schema = PLACES[where][0]
    if schema is None:
        return _print_local(options, training)
    config: Any = compose(schema, f"launch/{where}", options)
    if any(word in sweep.FLAGS for word in training):
        return _launch_sweep(where, config, training, is_print, report)
    resolved = run_config(*split_verb(training))
    if isinstance(config, kubernetes.KubernetesConfig):
        _require_elsewhere(config, resolved)
        show(kubernetes.manifest(config, resolved))
    elif isinstance(config, skypilot.SkyPilotConfig):
        _require_elsewhere(config, resolved)
        show(skypilot.task(config, resolved))
    elif isinstance(config, slurm.SlurmConfig):
        _launch_slurm(config, resolved, is_print, report)
    else:
        _launch_hosts(config, resolved, is_print, report)


def _print_local(options: list[str], training: list[str]) -> None:
    if options:
        raise InputError(f"launch local has no keys of its own: write `-- {shlex.join(options)}`")
    config = run_config(*split_verb(training))
    n = local.process_count(config.launch)
    require_consistent(config, n)
    frozen = str(Path(config.run_dir) / "config.yaml")
    command = [sys.executable, "-m", PROGRAMS[config.program].module, "--resolved", frozen]
    port = hosts.port_of(config.run_dir)
    shared = [f"WORLD_SIZE={n}", f"LOCAL_WORLD_SIZE={n}", "MASTER_ADDR=127.0.0.1"]
    lines = [shlex.join([*command, "--prepare"])]
    for rank in range(n):
        mine = [f"MASTER_PORT={port}", f"RANK={rank}", f"LOCAL_RANK={rank}"]
        lines.append(shlex.join(["env", *shared, *mine, *command]))
    show("".join(f"{line}\n" for line in lines))


def _launch_hosts(
    config: hosts.HostsConfig, training: RunConfig, is_print: bool, report: ExitReport
) -> None:
    require_consistent(training, hosts.world_size(config))
    if is_print:
        return show(hosts.shown(config, training))
    hosts.check(config)
    prepare_run(training, report)
    _end_with(hosts.start(config, training, report))


def _launch_slurm(
    config: slurm.SlurmConfig, training: RunConfig, is_print: bool, report: ExitReport
) -> None:
    require_consistent(training, config.nodes * config.processes_per_node)
    job = slurm.job_of(training)
    if is_print:
        return show(slurm.script(config, job))
    slurm.check(config)
    lock = prepare_run(training, report)
    report.run_dir = None  # how the run ends is for the job to say,
    os.close(lock)  # which takes the directory as soon as it starts
    number = slurm.submit(config, job)
    print(f"job {number} for {training.run_dir}, its output in logs/slurm-{number}.out there")


def _launch_sweep(
    where: str, config: Any, training: list[str], is_print: bool, report: ExitReport
) -> None:
    if not isinstance(config, slurm.SlurmConfig):
        raise InputError(
            f"launch {where} starts a single run: for a sweep there are `launch slurm … -- -m …` "
            "and `llama-gpt4 train -m …`, with sweep.hostfile=… on several hosts"
        )
    if any(word.startswith("hydra/sweeper=") for word in training):
        raise InputError(
            "hydra/sweeper chooses trials by the losses of others, but Slurm gets all at once: "
            "leave it out, or use `llama-gpt4 train -m`"
        )
    sweep.run(
        training,
        lambda settings, folder: SlurmArray(config, settings, folder, is_print, report),
    )


def _require_elsewhere(
    config: kubernetes.KubernetesConfig | skypilot.SkyPilotConfig, training: RunConfig
) -> None:
    """What can be checked of a run whose storage is not here."""
    kubernetes.require_shared(training, config.mount_path)
    size = training.model.hidden_size
    if size is not None:
        deepspeed_config(training, size, config.nodes * config.processes_per_node)


def _end_with(code: ExitCode) -> None:
    if code is not ExitCode.DONE:
        sys.exit(code)


def _help() -> str:
    places = "\n".join(f"  {where:<12}{what}" for where, (_, what) in PLACES.items())
    return (
        "usage: llama-gpt4 launch <where> [--print] [key=value …] -- [train | reward | dpo] [-m] "
        f"[key=value …]\n\n{places}\n\n"
        "`llama-gpt4 launch <where> --help` lists the keys before the --; those after it "
        "are those of `llama-gpt4 train`, or of the verb that comes first.\n"
        "`launch slurm … -- -m …` submits the trials of a sweep as a job array.\n"
        "--print shows the exact commands or script and starts nothing.\n"
    )
