"""`llama-gpt4 launch slurm`: a batch job that is requeued where it was preempted.

One task a host starts that host's ranks (`node.py`). Slurm warns all processes `warn_seconds`
before the time limit, the ranks save and end with 75, and the script puts the job back into the
queue; a job that is cancelled or fails stays out of it. Trials of a sweep are tasks of a job array,
each of which comes and goes like a job of its own; which trial is which task stands in the script,
of which Slurm keeps a copy.
"""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import InputError, require
from llama_gpt4.files import written_aside
from llama_gpt4_launch import node
from llama_gpt4_launch.environment import EnvironmentConfig, secret_values

ALWAYS = ("HOME", "PATH", "USER")
"""What a job gets of the environment whatever `environment` says; without them nothing runs."""


@dataclass(kw_only=True)
class SlurmConfig:
    """A job for sbatch."""

    nodes: int
    processes_per_node: int
    """One for every GPU; the job asks for as many GPUs unless launch.device=cpu."""
    partition: str | None
    account: str | None
    qos: str | None
    time: str | None
    """Time limit as Slurm writes it, such as 24:00:00; null: the partition's."""
    warn_seconds: int
    """How long before the time limit the ranks are told to save and stop."""
    setup: list[str]
    """Lines of bash that prepare a host, such as `module load cuda`."""
    container_image: str | None
    """Image for Pyxis; null: no container."""
    container_mounts: list[str]
    """Mounts for Pyxis, as `/there:/here`."""
    array_limit: int | None
    """Trials of a sweep that run at once; null: as many as Slurm finds room for."""
    sbatch_options: list[str]
    """More options for sbatch, such as `--exclusive`, a line of the script each."""
    python: str | None
    """The interpreter over there; null: at the path of this one."""
    environment: EnvironmentConfig

    def __post_init__(self) -> None:
        require(self.nodes > 0, f"nodes={self.nodes} must be positive")
        require(
            self.processes_per_node > 0,
            f"processes_per_node={self.processes_per_node} must be positive",
        )
        require(
            self.array_limit is None or self.array_limit > 0,
            f"array_limit={self.array_limit} must be positive",
        )
        require(self.warn_seconds >= 0, f"warn_seconds={self.warn_seconds} is negative")
        require(
            self.container_image is not None or not self.container_mounts,
            "container_mounts is given without container_image",
        )
        for option in self.sbatch_options:
            require(
                option.startswith("-") and "\n" not in option,
                f"sbatch_options: {option!r} is not an option such as --exclusive",
            )


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a script is for."""

    name: str
    folder: Path
    """Where the script and the output are."""
    run_dirs: list[str]
    is_array: bool
    needs_gpus: bool


def job_of(training: RunConfig) -> Job:
    """The job of a single run."""
    return Job(
        name=training.name,
        folder=Path(training.run_dir),
        run_dirs=[training.run_dir],
        is_array=False,
        needs_gpus=training.launch.device != "cpu",
    )


def script(config: SlurmConfig, job: Job) -> str:
    """The batch script. It names secrets, and has the value of none."""
    if job.is_array:
        choice = ["run_dirs=(", *(f"  {shlex.quote(run_dir)}" for run_dir in job.run_dirs), ")"]
        frozen = '"${run_dirs[$SLURM_ARRAY_TASK_ID]}/config.yaml"'
        number = '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"'
    else:
        choice = []
        frozen = shlex.quote(str(job.folder / "config.yaml"))
        number = '"$SLURM_JOB_ID"'
    lines = [
        "#!/bin/bash",
        # sbatch takes words apart as a shell does.
        *(f"#SBATCH {shlex.quote(option)}" for option in _options(config, job)),
        *(f"#SBATCH {option}" for option in config.sbatch_options),
        *_exports(config),
        *config.setup,
        *choice,
        'master=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        _srun(config, frozen),
        "code=$?",
        "# 75: preempted, and saved. The same script resumes there.",
        f'if [ "$code" -eq 75 ]; then scontrol requeue {number}; fi',
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def submit(config: SlurmConfig, job: Job) -> str:
    """Hand the script to sbatch; the number of the job. Nobody holds the directories of its runs,
    which are prepared."""
    path = job.folder / "launch.sbatch"
    with written_aside(path) as file:
        file.write(script(config, job))
    (job.folder / "logs").mkdir(exist_ok=True)  # Slurm does not make it
    done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"sbatch refuses {path}: {' '.join(done.stderr.split())}")
    return done.stdout.strip().partition(";")[0]


def check(config: SlurmConfig) -> None:
    require(
        shutil.which("sbatch") is not None,
        "there is no sbatch on this machine: start this on a login node of the cluster, or add "
        "--print for the script",
    )
    secret_values(config.environment, os.environ)


def _options(config: SlurmConfig, job: Job) -> list[str]:
    asked = {
        "partition": config.partition,
        "account": config.account,
        "qos": config.qos,
        "time": config.time,
    }
    names = [entry for entry in config.environment.variables if "=" not in entry]
    travelling = [*ALWAYS, *names, *config.environment.secrets]
    gpus = [f"--gpus-per-node={config.processes_per_node}"] if job.needs_gpus else []
    limit = "" if config.array_limit is None else f"%{config.array_limit}"
    array = [f"--array=0-{len(job.run_dirs) - 1}{limit}"] if job.is_array else []
    return [
        f"--job-name={job.name}",
        *array,
        f"--nodes={config.nodes}",
        "--ntasks-per-node=1",
        *gpus,
        *(f"--{key}={value}" for key, value in asked.items() if value is not None),
        f"--signal=USR1@{config.warn_seconds}",
        "--requeue",
        "--open-mode=append",
        f"--output={job.folder}/logs/slurm-{'%A_%a' if job.is_array else '%j'}.out",
        # Slurm keeps the values from the moment of submission; the script has the names only.
        f"--export={','.join(travelling)}",
    ]


def _exports(config: SlurmConfig) -> list[str]:
    entries = [entry.partition("=") for entry in config.environment.variables if "=" in entry]
    return [f"export {name}={shlex.quote(value)}" for name, _, value in entries]


def _srun(config: SlurmConfig, frozen: str) -> str:
    """Every host's task, with the configuration that bash knows as `frozen`; bash adds what only
    Slurm knows, on the host where it knows it."""
    container = []
    if config.container_image is not None:
        container.append(f"--container-image={shlex.quote(config.container_image)}")
    if config.container_mounts:
        container.append(f"--container-mounts={shlex.quote(','.join(config.container_mounts))}")
    words = node.command(
        config.python or sys.executable,
        "FROZEN",
        nodes=config.nodes,
        processes=config.processes_per_node,
        master_address="MASTER",
        master_port="PORT",
    )
    port = "$((20000 + SLURM_JOB_ID % 10000))"
    place = {"FROZEN": frozen, "MASTER": '"$master"', "PORT": port}
    command = " ".join(place.get(word) or shlex.quote(word) for word in words)
    options = ["--export=ALL", "--kill-on-bad-exit=0", "--wait=0", *container]
    return (
        f'srun {" ".join(options)} \\\n  bash -c \'exec "$@" "$SLURM_PROCID"\' host \\\n  {command}'
    )
