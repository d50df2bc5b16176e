"""How answers are drawn; `conf/decoding/` has the paper's way and others by name."""

from dataclasses import asdict, dataclass
from typing import Any

from llama_gpt4.errors import require


@dataclass(kw_only=True)
class DecodingConfig:
    """How an answer is drawn from the model's distribution."""

    max_new_tokens: int
    """Longest answer; the model's end token counts."""
    temperature: float
    """0 takes the likeliest token; else logits are divided by it before one is drawn."""
    top_p: float
    """Draw from the likeliest tokens that together reach this probability; 1 draws from all."""

    def __post_init__(self) -> None:
        tokens = self.max_new_tokens
        require(tokens > 0, f"decoding.max_new_tokens={tokens} must be positive")
        require(
            0 <= self.temperature < float("inf"),
            f"decoding.temperature={self.temperature} must be 0 or a positive number",
        )
        require(0 < self.top_p <= 1, f"decoding.top_p={self.top_p} is not within (0, 1]")
        require(
            self.temperature > 0 or self.top_p == 1,
            f"decoding.top_p={self.top_p} changes nothing at decoding.temperature=0: leave it at 1",
        )

    def described(self, seed: int) -> dict[str, Any]:
        """What files of answers say about it; a seed decides nothing at temperature 0."""
        return asdict(self) | ({"seed": seed} if self.temperature else {})
