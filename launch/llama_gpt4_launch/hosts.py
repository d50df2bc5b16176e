"""`llama-gpt4 launch deepspeed` and `launch torchrun`: on the hosts of a hostfile.

Over ssh we start the launcher once on every host ourselves and see each connection end; over pdsh
DeepSpeed does. Either way the ranks watch each other (`watch.py`).
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import ExitCode, InputError, require, require_one_of
from llama_gpt4.program import ExitReport
from llama_gpt4_launch import ssh
from llama_gpt4_launch.environment import EnvironmentConfig, secret_values, travelling
from llama_gpt4_launch.hostfile import Host, as_text, read_hostfile

EXPORTED_BY_DEEPSPEED = ("MLFLOW", "MV2", "NCCL", "PYTHON", "UCX")
"""Variables of these names DeepSpeed would send along unasked."""


@dataclass(kw_only=True)
class DeepSpeedConfig:
    """DeepSpeed's launcher on several hosts."""

    hostfile: str
    """Lines of `worker-1 slots=8`: the hosts, and the processes on each."""
    transport: str
    """`ssh`: a connection of ours to every host; `pdsh`: DeepSpeed's own way, where it is
    installed."""
    master_address: str | None
    """Where the ranks meet; null: the first host, as the hostfile calls it."""
    master_port: int | None
    """A free port there; null: one that follows from `run_dir`."""
    environment: EnvironmentConfig

    def __post_init__(self) -> None:
        require_one_of("transport", self.transport, ("ssh", "pdsh"))
        require(
            self.transport == "ssh" or not self.environment.secrets,
            f"environment.secrets={self.environment.secrets} cannot travel by pdsh, which would "
            "show them on the command line: use transport=ssh, or log in on the hosts",
        )


@dataclass(kw_only=True)
class TorchrunConfig:
    """torchrun on several hosts, over ssh."""

    hostfile: str
    """Lines of `worker-1 slots=8`: the hosts, and the processes on each."""
    rendezvous: str
    """How torchrun's agents meet: `static` or `c10d`."""
    master_address: str | None
    """Where the ranks meet; null: the first host, as the hostfile calls it."""
    master_port: int | None
    """A free port there; null: one that follows from `run_dir`."""
    environment: EnvironmentConfig

    def __post_init__(self) -> None:
        require_one_of("rendezvous", self.rendezvous, ("static", "c10d"))


HostsConfig = DeepSpeedConfig | TorchrunConfig


def hosts_of(config: HostsConfig) -> list[Host]:
    return read_hostfile(Path(config.hostfile))


def world_size(config: HostsConfig) -> int:
    return sum(host.slots for host in hosts_of(config))


def shown(config: HostsConfig, training: RunConfig) -> str:
    """The exact commands, as a shell takes them."""
    if isinstance(config, DeepSpeedConfig) and config.transport == "pdsh":
        environment = shlex.join(f"{k}={v}" for k, v in pdsh_environment(training).items())
        return f"env {environment} {shlex.join(pdsh_command(config, training))}\n"
    lines = remote_lines(config, training)
    return "".join(
        shlex.join(["ssh", *ssh.OPTIONS, host, line]) + "\n" for host, line in lines.items()
    )


def start(config: HostsConfig, training: RunConfig, report: ExitReport) -> ExitCode:
    """Start the ranks of a run that is prepared, and stay with them to their end."""
    run_dir = Path(training.run_dir)
    _write(run_dir / "hostfile", as_text(hosts_of(config)))
    connections = ssh.Connections(run_dir, report)
    if isinstance(config, DeepSpeedConfig) and config.transport == "pdsh":
        return _start_pdsh(config, training, connections)
    secrets = list(secret_values(config.environment, os.environ).values())
    lines = remote_lines(config, training)
    return connections.wait(
        {host: ssh.connect(host, line, secrets) for host, line in lines.items()}
    )


def check(config: HostsConfig) -> None:
    """Everything that can be found out before anything starts: secrets, tools, hosts."""
    secret_values(config.environment, os.environ)
    if isinstance(config, DeepSpeedConfig) and config.transport == "pdsh":
        require(
            shutil.which("pdsh") is not None,
            "transport=pdsh, but pdsh is not installed here: install it, or use transport=ssh",
        )
        for name, value in travelling(config.environment).items():
            require(
                not re.search(r'["$`\\]', value),
                f"environment.variables: DeepSpeed cannot send {name} by pdsh, for its value has "
                'one of "$`\\: use transport=ssh',
            )
    ssh.require_reachable(hosts_of(config), sys.executable)


def remote_lines(config: HostsConfig, training: RunConfig) -> dict[str, str]:
    """What each host runs."""
    hosts = hosts_of(config)
    environment = travelling(config.environment)
    return {
        host.name: ssh.remote(
            _command(config, hosts, node, training),
            environment,
            config.environment.secrets,
        )
        for node, host in enumerate(hosts)
    }


def _command(config: HostsConfig, hosts: list[Host], node: int, training: RunConfig) -> list[str]:
    if isinstance(config, TorchrunConfig):
        return _torchrun_command(config, hosts, node, training)
    return [
        *_deepspeed(config, hosts, training),
        *["--no_ssh", "--node_rank", str(node)],
        *_program("--module", training),
    ]


def _torchrun_command(
    config: TorchrunConfig, hosts: list[Host], node: int, training: RunConfig
) -> list[str]:
    address, port = _meeting_point(config, hosts, training)
    host = hosts[node]
    if config.rendezvous == "static":
        meeting = [
            *["--node-rank", str(node)],
            *["--master-addr", address, "--master-port", str(port)],
        ]
    else:
        meeting = [
            *["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{address}:{port}"],
            *["--rdzv-id", Path(training.run_dir).name],
            # torchrun would guess both from names that a host may not know itself by.
            *["--rdzv-conf", f"is_host={str(node == 0).lower()}"],
            *["--local-addr", _address(host)],
        ]
    return [
        *[sys.executable, "-m", "torch.distributed.run"],
        *["--nnodes", str(len(hosts)), "--nproc-per-node", str(host.slots)],
        *meeting,
        *_program("-m", training),
    ]


def pdsh_command(config: DeepSpeedConfig, training: RunConfig) -> list[str]:
    """DeepSpeed's launcher as it starts all hosts by itself."""
    return [
        *_deepspeed(config, hosts_of(config), training),
        *["--launcher", "pdsh", "--force_multi"],
        *_program("--module", training),
    ]


def pdsh_environment(training: RunConfig) -> dict[str, str]:
    """What DeepSpeed and pdsh read: the variables for the ranks from a file, how ssh is called."""
    return {
        "DS_ENV_FILE": str(Path(training.run_dir) / "environment"),
        "PDSH_SSH_ARGS_APPEND": " ".join(ssh.OPTIONS),
    }


def _start_pdsh(
    config: DeepSpeedConfig, training: RunConfig, connections: ssh.Connections
) -> ExitCode:
    variables = travelling(config.environment)
    text = "".join(f"{name}={value}\n" for name, value in variables.items())
    _write(Path(training.run_dir) / "environment", text)
    client = subprocess.Popen(
        pdsh_command(config, training),
        env={**_without_unasked(os.environ), **pdsh_environment(training)},
        cwd=training.run_dir,  # where pdsh goes on every host as well
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    return connections.wait({"of pdsh": client})


def _without_unasked(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if not k.startswith(EXPORTED_BY_DEEPSPEED)}


def _deepspeed(config: DeepSpeedConfig, hosts: list[Host], training: RunConfig) -> list[str]:
    address, port = _meeting_point(config, hosts, training)
    return [
        *[sys.executable, "-m", "deepspeed.launcher.runner"],
        *["--hostfile", str(Path(training.run_dir) / "hostfile")],
        *["--master_addr", address, "--master_port", str(port)],
        *["--no_local_rank", "--log_level", "error"],
    ]


def _program(option: str, training: RunConfig) -> list[str]:
    frozen = str(Path(training.run_dir) / "config.yaml")
    return [option, "llama_gpt4_launch.rank", "--resolved", frozen]


def _meeting_point(config: HostsConfig, hosts: list[Host], training: RunConfig) -> tuple[str, int]:
    return (
        config.master_address or _address(hosts[0]),
        config.master_port or port_of(training.run_dir),
    )


def port_of(run_dir: str) -> int:
    """The same for every start of a run, another one for most others, and no ephemeral one."""
    return 20000 + int(hashlib.sha256(run_dir.encode()).hexdigest(), 16) % 10000


def _address(host: Host) -> str:
    return host.name.rpartition("@")[2]


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.partial")
    try:
        aside.write_text(text)
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from error
