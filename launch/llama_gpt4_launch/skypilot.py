"""`llama-gpt4 launch skypilot`: a task for `sky jobs launch`, which brings preempted jobs back.

The frozen configuration is part of the file, the run directory lies on a volume that all hosts
share, and secrets are named only: `sky jobs launch --secret WANDB_API_KEY task.yaml`.
"""

import shlex
from dataclasses import dataclass
from typing import Any

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import ExitCode, require
from llama_gpt4.frozen_config import as_yaml
from llama_gpt4_launch import node
from llama_gpt4_launch.environment import EnvironmentConfig, travelling
from llama_gpt4_launch.kubernetes import PORT, as_documents, require_absolute

CONFIG_FILE = "/tmp/llama_gpt4_config.yaml"
END = "END_OF_CONFIG"


@dataclass(kw_only=True)
class SkyPilotConfig:
    """A task of SkyPilot."""

    nodes: int
    accelerators: str
    """GPUs of a node as SkyPilot names them, such as H100:8; one process for every GPU."""
    volume: str
    """SkyPilot volume that all nodes share, mounted at `mount_path`."""
    mount_path: str
    """`run_dir`, `data.cache_dir`, data and weights lie below it."""
    setup: list[str]
    """Lines of bash that install this project on a node."""
    restarts: int
    """How often a failed job is started again; preemption does not count."""
    python: str
    """The interpreter over there."""
    environment: EnvironmentConfig

    def __post_init__(self) -> None:
        require(self.nodes > 0, f"nodes={self.nodes} must be positive")
        require(self.restarts >= 0, f"restarts={self.restarts} is negative")
        count = self.accelerators.rpartition(":")[2]
        require(
            ":" in self.accelerators and count.isdigit() and int(count) > 0,
            f"accelerators={self.accelerators} is not like H100:8",
        )
        require_absolute(self.mount_path)

    @property
    def processes_per_node(self) -> int:
        return int(self.accelerators.rpartition(":")[2])


def task(config: SkyPilotConfig, training: RunConfig) -> str:
    """The task file."""
    document: dict[str, Any] = {
        "name": training.name.replace("_", "-"),
        "num_nodes": config.nodes,
        "resources": {
            "accelerators": config.accelerators,
            "job_recovery": {
                "max_restarts_on_errors": config.restarts,
                "recover_on_exit_codes": [int(ExitCode.PREEMPTED)],
            },
        },
        "volumes": {config.mount_path: config.volume},
    }
    variables = travelling(config.environment)
    if variables:
        document["envs"] = variables
    if config.environment.secrets:
        document["secrets"] = dict.fromkeys(config.environment.secrets)
    if config.setup:
        document["setup"] = "".join(f"{line}\n" for line in config.setup)
    document["run"] = _run(config, training)
    return as_documents([document])


def _run(config: SkyPilotConfig, training: RunConfig) -> str:
    words = node.command(
        config.python,
        CONFIG_FILE,
        nodes=config.nodes,
        processes=config.processes_per_node,
        master_address="MASTER",
        master_port=PORT,
    )
    command = " ".join('"$master"' if word == "MASTER" else shlex.quote(word) for word in words)
    return (
        f"cat > {CONFIG_FILE} <<'{END}'\n{as_yaml(training)}{END}\n"
        'master=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)\n'
        f'exec {command} "$SKYPILOT_NODE_RANK"\n'
    )
