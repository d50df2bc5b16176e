"""What a training run is configured by: types, meanings, units and invariants.

Values live in `conf/` only, so no field has a default here. Lengths are counted in tokens.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from llama_gpt4.data_config import DataConfig, FilesConfig
from llama_gpt4.deepspeed_keys import require_known
from llama_gpt4.errors import InputError, require, require_one_of


@dataclass(kw_only=True)
class ModelConfig:
    """Which LLaMA. With `path`, sizes left null come from its config.json and others must agree."""

    path: str | None
    """Weights to start from: a folder in Hugging Face format, or a hub name; null: random ones."""
    n_layers: int | None
    hidden_size: int | None
    """D: width of the residual stream."""
    feed_forward_size: int | None
    """F: width of the SwiGLU feed-forward."""
    n_heads: int | None
    n_kv_heads: int | None
    """Heads of keys and values; fewer than `n_heads` is grouped-query attention."""
    max_positions: int | None
    """Longest sequence that the model is meant for."""
    rope_theta: float | None
    norm_eps: float | None
    tie_embeddings: bool | None
    initializer_std: float
    """Standard deviation of random weights; only read when `path` is null."""
    kernels: str
    """`fused` (Triton; needs a CUDA device) or `reference` (PyTorch, any device)."""
    attention: str
    """`sdpa` (PyTorch's, one call a document, any device); on CUDA also `varlen` (PyTorch's for
    packed documents), `flash_attn_2` or `flash_attn_3` (where those packages are installed)."""
    recompute: str
    """What the backward pass computes again to save memory: `none`; `lean`: what one elementwise
    kernel brings back; `attention`: all but attention; `full`: the whole layer."""

    def __post_init__(self) -> None:
        require_one_of("model.kernels", self.kernels, ("fused", "reference"))
        require_one_of(
            "model.attention", self.attention, ("sdpa", "varlen", "flash_attn_2", "flash_attn_3")
        )
        require_one_of("model.recompute", self.recompute, ("none", "lean", "attention", "full"))
        sizes = {
            "n_layers": self.n_layers,
            "hidden_size": self.hidden_size,
            "feed_forward_size": self.feed_forward_size,
            "n_heads": self.n_heads,
            "n_kv_heads": self.n_kv_heads,
            "max_positions": self.max_positions,
            "rope_theta": self.rope_theta,
            "norm_eps": self.norm_eps,
            "tie_embeddings": self.tie_embeddings,
        }
        missing = [key for key, value in sizes.items() if value is None]
        if self.path is None and missing:
            raise InputError(
                f"model.{missing[0]} is null: give it a value, or set model.path to weights that "
                "say their own sizes"
            )
        for key, value in sizes.items():
            if value is not None and key != "tie_embeddings":
                require(value > 0, f"model.{key}={value} must be positive")
        if self.hidden_size and self.n_heads:
            require(
                self.hidden_size % (2 * self.n_heads) == 0,
                f"model.hidden_size={self.hidden_size} must be an even multiple of "
                f"model.n_heads={self.n_heads}",
            )
        if self.n_heads and self.n_kv_heads:
            require(
                self.n_heads % self.n_kv_heads == 0,
                f"model.n_heads={self.n_heads} is not a multiple of "
                f"model.n_kv_heads={self.n_kv_heads}",
            )


@dataclass(kw_only=True)
class TokenizerConfig:
    """Where the tokenizer comes from: `path`, else `model.path`, else trained on the data."""

    path: str | None
    """A tokenizer.model or tokenizer.json, or its folder; null: the one beside `model.path`."""
    vocab_size: int
    """Pieces of the tokenizer that is trained on the data when there is no path at all."""


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


@dataclass(kw_only=True)
class LoopConfig:
    """How long the run is and what it does on the way."""

    epochs: float
    """Passes over the data; the schedule's length unless `schedule.steps` says otherwise."""
    steps: int | None
    """Where training stops, whatever the schedule; null: at the schedule's end."""
    log_every_steps: int
    eval_every_steps: int
    """Evaluate on the validation data this often, and always at the end; 0: only at the end."""
    save_every_steps: int
    """Save a checkpoint this often, and always at the end; 0: only at the end."""
    keep_checkpoints: int
    """Newest checkpoints that stay on disk; the best by evaluation loss stays as well."""
    keep_checkpoint_bytes: int | None
    """Most bytes of all checkpoints together: the oldest go first, the newest and the best never;
    null: no limit."""
    dry: bool
    """Say what the run would do on its `launch.processes`, without a GPU, and train nothing."""

    def __post_init__(self) -> None:
        require(self.epochs > 0, f"train.epochs={self.epochs} must be positive")
        if self.steps is not None:
            require(self.steps > 0, f"train.steps={self.steps} must be positive")
        require(self.log_every_steps > 0, "train.log_every_steps must be positive")
        require(self.eval_every_steps >= 0, "train.eval_every_steps is negative")
        require(self.save_every_steps >= 0, "train.save_every_steps is negative")
        require(self.keep_checkpoints > 0, "train.keep_checkpoints must be positive")
        if self.keep_checkpoint_bytes is not None:
            require(self.keep_checkpoint_bytes > 0, "train.keep_checkpoint_bytes must be positive")

    def checkpoints_on_disk(self, checkpoint_bytes: int, has_best: bool) -> int:
        """At most, with one that is being written; `has_best`: one is kept for its evaluation."""
        kept = self.keep_checkpoints + has_best
        if self.keep_checkpoint_bytes is not None:
            kept = min(kept, max(1 + has_best, self.keep_checkpoint_bytes // checkpoint_bytes))
        return kept + 1


@dataclass(kw_only=True)
class TrackingConfig:
    """Who is told about a run besides `metrics.jsonl`."""

    kind: str
    """`none`; `wandb`: Weights & Biases, offline when nobody is logged in; `tensorboard`: event
    files (needs the package tensorboard)."""
    project: str
    """W&B's project."""
    group: str | None
    """W&B's group, for runs that belong together."""
    tags: list[str]
    """W&B's tags besides the run's `name`."""

    def __post_init__(self) -> None:
        require_one_of("tracking.kind", self.kind, ("none", "wandb", "tensorboard"))


@dataclass(kw_only=True)
class EvaluationConfig:
    """What the model is asked while it trains, greedily: in `run_dir/samples/`, and as a table of
    the tracker."""

    questions: str | None
    """A file of questions, as `llama-gpt4 answer` takes it. They are asked before the first step,
    every `train.eval_every_steps` and at the end, where first and last answers, and the perplexity
    of the validation data, are shown side by side; null: validation prompts, at each evaluation."""
    n_questions: int
    """How many of them, the first ones; 0: none."""
    answer_tokens: int
    """Longest answer. The model is asked anew for each token, all ranks together."""

    def __post_init__(self) -> None:
        n = self.n_questions
        require(n >= 0, f"evaluation.n_questions={n} is negative")
        require(
            n > 0 or self.questions is None,
            f"evaluation.n_questions={n} asks none of evaluation.questions={self.questions}: "
            "raise it, or set the other to null",
        )
        tokens = self.answer_tokens
        require(tokens > 0, f"evaluation.answer_tokens={tokens} must be positive")


@dataclass(kw_only=True)
class LaunchConfig:
    processes: int | None
    """Processes that `llama-gpt4 train` starts on this host; null: one for every GPU. Other places
    of `llama-gpt4 launch` count theirs by a hostfile or by keys of their own."""
    device: str
    """`cpu`, `cuda`, or `auto`: CUDA where there is one."""
    timeout_minutes: float
    """How long a rank waits for the others in one collective operation."""
    hang_seconds: float
    """When nothing has moved for so long, no step and no collective, the run ends with a report of
    which rank stands where: longer than the longest time between two signs of life, such as reading
    the weights from slow storage, and shorter than `timeout_minutes`."""

    def __post_init__(self) -> None:
        require_one_of("launch.device", self.device, ("auto", "cpu", "cuda"))
        if self.processes is not None:
            require(self.processes > 0, f"launch.processes={self.processes} must be positive")
        require(self.timeout_minutes > 0, "launch.timeout_minutes must be positive")
        require(self.hang_seconds > 0, f"launch.hang_seconds={self.hang_seconds} must be positive")


@dataclass(kw_only=True)
class RunConfig:
    """What every training run has, whatever it trains."""

    MICRO_STEP_KEY: ClassVar[str]
    """The key of `rows_per_micro_step`, for messages."""
    FAMILIES: ClassVar[str]
    """`llama`, or `any` model of transformers."""

    program: str
    """The verb that this configuration is for; it says which program a frozen one belongs to."""
    name: str
    """What the run is called; part of the default `run_dir`."""
    run_dir: str
    """Everything the run writes. The default ends in a hash of the configuration, so that the same
    line finds its run again and another line starts another run."""
    seed: int
    deterministic: bool
    """Refuse operators whose results differ from run to run."""
    model: ModelConfig
    tokenizer: TokenizerConfig
    data: FilesConfig
    optim: OptimConfig
    schedule: ScheduleConfig
    precision: PrecisionConfig
    zero: ZeroConfig
    train: LoopConfig
    tracking: TrackingConfig
    launch: LaunchConfig

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"seed={self.seed} is negative")
        rows = self.rows_per_micro_step
        require(rows > 0, f"{self.MICRO_STEP_KEY}={rows} must be positive")
        require(
            self.zero.stage > 0 or self.precision.dtype == "float32",
            "zero.stage=0 with precision.dtype=bfloat16 would keep no float32 weights: use "
            "zero=stage1",
        )
        require(
            self.model.attention == "sdpa" or self.precision.dtype == "bfloat16",
            f"model.attention={self.model.attention} takes no float32: use model.attention=sdpa",
        )
        longest = self.model.max_positions
        if longest is not None:
            require(
                self.data.row_tokens <= longest,
                f"data.row_tokens={self.data.row_tokens} exceeds model.max_positions={longest}",
            )

    @property
    def rows_per_step(self) -> int:
        """Rows in one optimizer step, over all devices. A row is what no forward pass divides:
        a sequence of tokens, or a prompt with its responses."""
        raise NotImplementedError

    @property
    def rows_per_micro_step(self) -> int:
        """Rows in one forward pass of one device."""
        raise NotImplementedError


@dataclass(kw_only=True)
class TrainConfig(RunConfig):
    """A whole instruction tuning."""

    MICRO_STEP_KEY: ClassVar[str] = "batch.rows_per_micro_step"
    FAMILIES: ClassVar[str] = "llama"

    data: DataConfig
    batch: BatchConfig
    loss: LossConfig
    evaluation: EvaluationConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("program", self.program, ("train",))
        if self.data.batching == "pack":
            self._check_tokens_per_step()
        else:
            self._check_examples_per_step()

    @property
    def rows_per_step(self) -> int:
        """Rows in one optimizer step, over all devices."""
        if self.data.batching == "pad":
            assert self.batch.examples_per_step is not None
            return self.batch.examples_per_step
        assert self.batch.tokens_per_step is not None
        return self.batch.tokens_per_step // self.data.row_tokens

    @property
    def rows_per_micro_step(self) -> int:
        return self.batch.rows_per_micro_step

    def _check_tokens_per_step(self) -> None:
        tokens, row = self.batch.tokens_per_step, self.data.row_tokens
        require(
            tokens is not None,
            "batch.tokens_per_step is null: data.batching=pack counts the global batch in tokens",
        )
        assert tokens is not None
        below = tokens // row * row
        fitting = f"{below} or {below + row}" if below else f"{row}"
        require(
            tokens > 0 and tokens % row == 0,
            f"batch.tokens_per_step={tokens} is not a multiple of data.row_tokens={row}: "
            f"{fitting} would do",
        )
        require(
            self.batch.examples_per_step is None,
            f"batch.examples_per_step={self.batch.examples_per_step} is for data.batching=pad; "
            "packing counts the global batch by batch.tokens_per_step: set the other to null",
        )

    def _check_examples_per_step(self) -> None:
        examples = self.batch.examples_per_step
        require(
            examples is not None and examples > 0,
            f"batch.examples_per_step={examples}: data.batching=pad counts the global batch in "
            "examples and needs a positive number, such as 128",
        )
        require(
            self.batch.tokens_per_step is None,
            f"batch.tokens_per_step={self.batch.tokens_per_step} is for data.batching=pack; "
            "padding counts the global batch by batch.examples_per_step: set the other to null",
        )
