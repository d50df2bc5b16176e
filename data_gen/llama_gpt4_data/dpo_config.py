"""What preference training is configured by: what differs from a reward model."""

from dataclasses import dataclass
from typing import ClassVar

from llama_gpt4.errors import require, require_one_of
from llama_gpt4_data.reward_config import ComparisonsConfig, RankingLossConfig

LOSSES = ("mean_over_pairs", "pairwise", "plackett_luce")


@dataclass(kw_only=True)
class PreferenceLossConfig:
    kind: str
    """`mean_over_pairs`: -log sigmoid of the difference of a pair's rewards, the mean over all
    pairs (DPO); `pairwise`: the mean over the pairs of a prompt, then over prompts;
    `plackett_luce`: how likely each response is the first among itself and all worse ones."""
    beta: float
    """Reward that a response gains where its log-probability rises by 1 over that of the model that
    the run starts from; the higher, the nearer the model stays to that one."""

    def __post_init__(self) -> None:
        require_one_of("loss.kind", self.kind, LOSSES)
        require(self.beta > 0, f"loss.beta={self.beta} must be positive")


@dataclass(kw_only=True)
class DpoConfig(ComparisonsConfig):
    """A whole preference training."""

    FAMILIES: ClassVar[str] = "llama"

    loss: PreferenceLossConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("program", self.program, ("dpo",))
        require(
            self.model.path is not None,
            "model.path=null: preferences are learned by a fine-tuned model, such as the "
            "run_dir/model of `llama-gpt4 train`",
        )

    @property
    def ranking(self) -> RankingLossConfig:
        return RankingLossConfig(kind=self.loss.kind, points=0.0, centring=0.0)
