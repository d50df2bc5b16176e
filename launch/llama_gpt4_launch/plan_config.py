"""What `llama-gpt4 plan` is told beside a training run: the hardware, and what is assumed."""

from dataclasses import dataclass

from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError, require


@dataclass(kw_only=True)
class Gpu:
    memory_gib: float
    """As nvidia-smi shows it."""
    bfloat16_tflops: float
    """Peak of dense matrix products."""
    float32_tflops: float
    """The same in full float32, without TF32."""
    memory_gb_s: float
    link_gb_s: float
    """To the other GPUs of its node, each way."""
    host_gb_s: float
    """To the host's memory, each way."""


@dataclass(kw_only=True)
class AssumptionConfig:
    """What nobody knows before a run; the plan is as good as these."""

    compute_frac: float
    """Share of the GPU's peak that a forward and backward pass reach while nothing waits."""
    bandwidth_frac: float
    """Share of a link's speed that a large collective operation reaches."""
    fragmentation_frac: float
    """Memory that PyTorch's allocator holds and cannot use, as a share of what comes and goes."""
    context_gib: float
    """CUDA's context and NCCL's buffers on one GPU."""
    host_memory_gb_s: float
    """Speed of a node's memory; it decides how long offloaded updates take."""

    def __post_init__(self) -> None:
        for key, value in (
            ("compute_frac", self.compute_frac),
            ("bandwidth_frac", self.bandwidth_frac),
        ):
            require(0 < value <= 1, f"plan.assume.{key}={value} is not within (0, 1]")
        frac = self.fragmentation_frac
        require(frac >= 0, f"plan.assume.fragmentation_frac={frac} is negative")
        require(self.context_gib >= 0, f"plan.assume.context_gib={self.context_gib} is negative")
        speed = self.host_memory_gb_s
        require(speed > 0, f"plan.assume.host_memory_gb_s={speed} must be positive")


@dataclass(kw_only=True)
class PlanConfig:
    """The hardware, and the data where they are not here yet."""

    gpu: str
    """One of `plan.gpus`."""
    nodes: int
    gpus_per_node: int
    network: str
    """Between nodes: one of `plan.networks`."""
    examples: int | None
    """How many an epoch will have, where the data are not here yet; null: the data are read."""
    tokens_per_example: float
    """Their mean length; only read with `plan.examples`."""
    vocab_size: int
    """V where neither prepared data nor the config.json in `model.path` say it."""
    host_memory_gib: float | None
    """Of one node; null: not checked."""
    assume: AssumptionConfig
    gpus: dict[str, Gpu]
    """The GPUs that are known; `+plan.gpus.mine={memory_gib: 80, …}` adds one."""
    networks: dict[str, float]
    """The networks that are known, in GB/s of one node's adapters together, each way."""

    def __post_init__(self) -> None:
        _require_known("gpu", self.gpu, list(self.gpus))
        _require_known("network", self.network, list(self.networks))
        for key, value in (
            ("nodes", self.nodes),
            ("gpus_per_node", self.gpus_per_node),
            ("tokens_per_example", self.tokens_per_example),
            ("vocab_size", self.vocab_size),
            ("examples", self.examples),
            ("host_memory_gib", self.host_memory_gib),
        ):
            require(value is None or value > 0, f"plan.{key}={value} must be positive")


@dataclass(kw_only=True)
class PlannedConfig(TrainConfig):
    """A training run and where it is to run: `conf/plan.yaml`."""

    plan: PlanConfig


def _require_known(key: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise InputError(
            f"plan.{key}={value} is not one of {', '.join(known)}; conf/plan.yaml shows how one is "
            f"described, and +plan.{key}s.<name>=… adds yours"
        )
