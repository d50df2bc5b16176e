"""What training on comparisons is configured by: what differs from an instruction tuning."""

from dataclasses import dataclass
from typing import ClassVar

from llama_gpt4.config import RunConfig
from llama_gpt4.data_config import FilesConfig
from llama_gpt4.errors import require, require_one_of

LOSSES = ("pairwise", "mean_over_pairs", "margin", "plackett_luce")


@dataclass(kw_only=True)
class ComparisonFilesConfig(FilesConfig):
    """`files` hold comparisons in any published layout; `row_tokens` is the longest prompt with one
    response, and `validation.share` a share of the prompts."""

    out_of_range: str
    """A score outside 1 to 10, such as the published zeros: `keep` the response (counted), or
    `drop` it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("data.out_of_range", self.out_of_range, ("keep", "drop"))


@dataclass(kw_only=True)
class PromptBatchConfig:
    """How many prompts, each with all its responses."""

    prompts_per_step: int
    """In one optimizer step, over all devices."""
    prompts_per_micro_step: int
    """In one forward pass of one device; memory grows with it."""

    def __post_init__(self) -> None:
        n = self.prompts_per_step
        require(n > 0, f"batch.prompts_per_step={n} must be positive")


@dataclass(kw_only=True)
class RankingLossConfig:
    kind: str
    """`pairwise`: -log sigmoid of the difference, the mean over the pairs of a prompt, then over
    prompts; `mean_over_pairs`: the mean over all pairs; `margin`: as `pairwise`, and the difference
    must exceed `points` times that of the scores; `plackett_luce`: how likely each response is the
    first among itself and all worse ones, the mean over these choices, then over prompts."""
    points: float
    """Reward that one point of score is worth at least; only read by `margin`."""
    centring: float
    """Weight of the squared mean reward of a prompt, which the ranking leaves free; 0: none."""

    def __post_init__(self) -> None:
        require_one_of("loss.kind", self.kind, LOSSES)
        require(self.points >= 0, f"loss.points={self.points} is negative")
        require(self.centring >= 0, f"loss.centring={self.centring} is negative")


@dataclass(kw_only=True)
class ComparisonsConfig(RunConfig):
    """A training on comparisons, of whatever model."""

    MICRO_STEP_KEY: ClassVar[str] = "batch.prompts_per_micro_step"

    data: ComparisonFilesConfig
    batch: PromptBatchConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not self.train.dry, "train.dry is for `llama-gpt4 train`: leave it false")

    @property
    def ranking(self) -> RankingLossConfig:
        """The loss over the rewards of the responses to a prompt."""
        raise NotImplementedError

    @property
    def rows_per_step(self) -> int:
        return self.batch.prompts_per_step

    @property
    def rows_per_micro_step(self) -> int:
        return self.batch.prompts_per_micro_step


@dataclass(kw_only=True)
class RewardConfig(ComparisonsConfig):
    """A whole training of a reward model."""

    FAMILIES: ClassVar[str] = "any"

    loss: RankingLossConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("program", self.program, ("reward",))

    @property
    def ranking(self) -> RankingLossConfig:
        return self.loss
