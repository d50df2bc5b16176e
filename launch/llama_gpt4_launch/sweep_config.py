"""How the trials of a sweep run: types and meanings; values live in `conf/sweep/`."""

from dataclasses import dataclass

from llama_gpt4.errors import require
from llama_gpt4_launch.environment import EnvironmentConfig


@dataclass(kw_only=True)
class SweepConfig:
    """Read beside the training's own keys by `llama-gpt4 train -m`."""

    dir: str
    """Everything the sweep writes, the run directories of its trials included. The default ends in
    a hash of the line, so that the same line finds its sweep again."""
    params: dict[str, str]
    """What is swept, key by key, as on the command line: `optim.lr: 1e-5,2e-5`."""
    devices: int | None
    """Devices that the trials share, `launch.processes` of them each; null: every GPU of this host,
    or without GPUs every core."""
    hostfile: str | None
    """Lines of `worker-1 slots=8`: trials run on these hosts, which see `sweep.dir` and the data
    cache at the same paths, each on one of them or on several whole ones; null: on this host."""
    environment: EnvironmentConfig
    hang_seconds: float | None
    """A trial that writes no line of metrics for so long is ended, to be resumed by the next start;
    longer than loading, evaluating or saving takes. null: never. Slurm's own limit is of time."""
    median_after_steps: int | None
    """From this step on, stop a trial whose lowest loss is above the median of the others' lowest
    by the same step; null: never."""

    def __post_init__(self) -> None:
        for key in ("devices", "hang_seconds", "median_after_steps"):
            value = getattr(self, key)
            require(value is None or value > 0, f"sweep.{key}={value} must be positive")
        require(
            self.hostfile is None or self.devices is None,
            f"sweep.devices={self.devices} is for trials of this host: the slots of sweep.hostfile "
            "say how many run on others",
        )


@dataclass(kw_only=True)
class SweepProgram:
    """`conf/sweep.yaml`."""

    sweep: SweepConfig
