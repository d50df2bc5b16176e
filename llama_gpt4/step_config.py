"""What an optimizer step is: its batch, loss and update, in which precision, sharded how.

Values live in `conf/` only. Lengths are counted in tokens.
"""

from dataclasses import dataclass
from typing import Any

from llama_gpt4.deepspeed_keys import require_known
from llama_gpt4.errors import require, require_one_of


@dataclass(kw_only=True)
class BatchConfig:
    """How much goes into one optimizer step, and into one forward pass of one device."""

    tokens_per_step: int | None
    """Global batch when packing: rows of T tokens are filled up to this many tokens."""
    examples_per_step: int | None
    """Global batch when padding, where a row is one example."""
    rows_per_micro_step: int
    """Rows in one forward pass of one device; memory grows with it."""


@dataclass(kw_only=True)
class LossConfig:
    normalisation: str
    """`global_tokens`: mean over all target tokens of the global batch; `micro_batch`: mean of the
    means of the micro-batches (Alpaca's); `example`: mean of the means of the examples."""

    def __post_init__(self) -> None:
        require_one_of(
            "loss.normalisation", self.normalisation, ("global_tokens", "micro_batch", "example")
        )


@dataclass(kw_only=True)
class OptimConfig:
    """AdamW. Norm weights are never decayed."""

    lr: float
    """Peak learning rate."""
    betas: list[float]
    eps: float
    weight_decay: float
    max_grad_norm: float
    """Gradients are clipped to this global norm; 0 clips nothing."""

    def __post_init__(self) -> None:
        require(self.lr > 0, f"optim.lr={self.lr} must be positive")
        require(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"optim.betas={self.betas} must be two numbers within [0, 1)",
        )
        require(self.eps > 0, f"optim.eps={self.eps} must be positive")
        require(self.weight_decay >= 0, f"optim.weight_decay={self.weight_decay} is negative")
        require(self.max_grad_norm >= 0, f"optim.max_grad_norm={self.max_grad_norm} is negative")


@dataclass(kw_only=True)
class ScheduleConfig:
    """The learning rate over the steps; nobody else sets it."""

    kind: str
    """`cosine` and `linear` fall to 0, `constant` stays, all after a linear warm-up;
    `log_warmup_constant` is what the released GPT-4-LLM configuration does in fact."""
    warmup_frac: float
    """Share of the schedule's steps spent warming up, rounded up to a whole step."""
    steps: int | None
    """Length of the schedule in steps; null: `train.epochs` over the data."""

    def __post_init__(self) -> None:
        require_one_of(
            "schedule.kind", self.kind, ("cosine", "linear", "constant", "log_warmup_constant")
        )
        require(
            0 <= self.warmup_frac <= 1,
            f"schedule.warmup_frac={self.warmup_frac} is not within [0, 1]",
        )
        if self.steps is not None:
            require(self.steps > 0, f"schedule.steps={self.steps} must be positive")


@dataclass(kw_only=True)
class PrecisionConfig:
    dtype: str
    """`float32`, or `bfloat16` with float32 master weights. There is no default on purpose."""
    float32_matmul: str
    """`highest`, or `medium` where a self-test finds it as exact: faster products on some CPUs,
    slower attention on others."""

    def __post_init__(self) -> None:
        require_one_of("precision.dtype", self.dtype, ("float32", "bfloat16"))
        require_one_of("precision.float32_matmul", self.float32_matmul, ("highest", "medium"))


@dataclass(kw_only=True)
class ZeroConfig:
    """How DeepSpeed shards the training state."""

    stage: int
    """0 shards nothing, 1 the optimizer's state, 2 also gradients, 3 also parameters."""
    hpz_processes: int
    """Processes, those of one host, that keep a second copy of the parameters among them (ZeRO++'s
    hpZ, stage 3), so that fewer gathers cross the network; 1: no second copy."""
    offload_optimizer: bool
    """Keep master weights and moments in host memory."""
    offload_parameters: bool
    """Keep sharded parameters in host memory (stage 3)."""
    deepspeed: dict[str, Any]
    """More of DeepSpeed's own configuration; contradicting a derived field is an error, and so is
    a key that it does not have."""

    def __post_init__(self) -> None:
        require(self.stage in (0, 1, 2, 3), f"zero.stage={self.stage} is not one of 0, 1, 2, 3")
        require(
            self.stage == 3 or not self.offload_parameters,
            f"zero.offload_parameters needs zero.stage=3, not {self.stage}",
        )
        hpz = self.hpz_processes
        require(hpz > 0, f"zero.hpz_processes={hpz} must be positive")
        require(
            hpz == 1 or (self.stage == 3 and not self.offload_parameters),
            f"zero.hpz_processes={hpz} needs zero.stage=3, and no zero.offload_parameters",
        )
        require(
            self.stage >= 1 or not self.offload_optimizer,
            "zero.offload_optimizer needs zero.stage=1, 2 or 3",
        )
        require_known(self.deepspeed)
