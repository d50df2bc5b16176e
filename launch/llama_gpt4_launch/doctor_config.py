"""Which hosts `llama-gpt4 doctor` looks at, and what they must have. Values: conf/doctor.yaml."""

from dataclasses import dataclass

from llama_gpt4.errors import require, require_one_of
from llama_gpt4_launch.environment import EnvironmentConfig


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
