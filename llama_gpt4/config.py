"""What a training run is configured by: types, meanings, units and invariants.

Values live in `conf/` only, so no field has a default here. Lengths are counted in tokens.
"""

from dataclasses import dataclass
from typing import ClassVar

from llama_gpt4.data_config import DataConfig, FilesConfig
from llama_gpt4.errors import require, require_one_of
from llama_gpt4.model_config import ModelConfig, TokenizerConfig
from llama_gpt4.step_config import (
    BatchConfig,
    LossConfig,
    OptimConfig,
    PrecisionConfig,
    ScheduleConfig,
    ZeroConfig,
)


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
