"""What a run of `data instruct` is configured by."""

from dataclasses import dataclass

from llama_gpt4.errors import require, require_one_of
from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.generation_config import PricesConfig, RunConfig
from llama_gpt4_data.instruction_filters import InstructionFilterConfig


@dataclass(kw_only=True)
class DemonstrationsConfig:
    """Which tasks stand in a prompt, so that the teacher goes on from them."""

    seeds: int
    """Of those that people wrote; more while there are not enough others."""
    machine: int
    """Of those that the teacher wrote in earlier rounds and that were accepted."""
    choice: str
    """`random`; `diverse`: of a random handful, those least similar to one another."""
    seed: int
    """Of the draw. Seed and round decide the prompts, so that a resumed run asks the same."""

    def __post_init__(self) -> None:
        require(self.seeds >= 0, f"demonstrations.seeds={self.seeds} is negative")
        require(self.machine >= 0, f"demonstrations.machine={self.machine} is negative")
        require(self.per_prompt > 0, "demonstrations: seeds and machine are both 0")
        require_one_of("demonstrations.choice", self.choice, ("random", "diverse"))

    @property
    def per_prompt(self) -> int:
        return self.seeds + self.machine


@dataclass(kw_only=True)
class RoundsConfig:
    """Prompts that go out together, and when it ends."""

    prompts: int
    """Of one round. Later rounds see what it brought."""
    most: int
    """Rounds at most."""
    least_new_frac: float
    """Stop after a round of which no more than this share was accepted; 0: nothing at all."""

    def __post_init__(self) -> None:
        require(self.prompts > 0, f"rounds.prompts={self.prompts} must be positive")
        require(self.most > 0, f"rounds.most={self.most} must be positive")
        share = self.least_new_frac
        require(0 <= share < 1, f"rounds.least_new_frac={share} is not within [0, 1)")


@dataclass(kw_only=True)
class InstructConfig:
    """How new instructions come to be; `method=alpaca`, `self_instruct` or `iterative` sets most
    of it."""

    reply: str
    """What a prompt asks for: `tasks` with input and output, as Alpaca did; `instructions`, which
    are then classified and given inputs and outputs, as Self-Instruct did."""
    language: str
    """`en` or `zh`, of prompts and tasks."""
    seeds: str | None
    """A file of tasks that people wrote: JSONL of `id`, `name`, `instruction`, `instances` and
    `is_classification`, or Alpaca records; null: the dozen that is shipped in each language."""
    count: int
    """Accepted instructions after which no further round begins."""
    list_length: int
    """Tasks in a prompt's list with those that the teacher adds."""
    demonstrations: DemonstrationsConfig
    rounds: RoundsConfig
    filters: InstructionFilterConfig
    max_rouge_l: float
    """An instruction is dropped that has more in common with any seed or accepted one."""
    run: RunConfig
    teacher: EndpointConfig
    prices: PricesConfig

    def __post_init__(self) -> None:
        require_one_of("reply", self.reply, ("tasks", "instructions"))
        require_one_of("language", self.language, ("en", "zh"))
        require(self.count > 0, f"count={self.count} must be positive")
        require(
            self.list_length > self.demonstrations.per_prompt,
            f"list_length={self.list_length} leaves no task to add to the "
            f"{self.demonstrations.per_prompt} demonstrations",
        )
        require(0 < self.max_rouge_l < 1, f"max_rouge_l={self.max_rouge_l} is not within (0, 1)")
