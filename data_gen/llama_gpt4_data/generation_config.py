"""What all tasks that ask an endpoint share: where things go, how much at most, what it costs."""

import re
from dataclasses import dataclass

from llama_gpt4.config import require
from llama_gpt4.errors import InputError
from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.ledger import Price
from llama_gpt4_data.tokens import ENCODINGS, TokenCounter


@dataclass(kw_only=True)
class ModelPrice:
    """What a model costs, in US dollars for a million tokens, and how its tokens are counted."""

    input_usd: float
    output_usd: float
    encoding: str
    """`cl100k_base` or `o200k_base`."""

    def __post_init__(self) -> None:
        for name in ("input_usd", "output_usd"):
            require(getattr(self, name) >= 0, f"{name}={getattr(self, name)} is negative")
        known = ", ".join(ENCODINGS)
        require(self.encoding in ENCODINGS, f"encoding={self.encoding} is not one of {known}")


@dataclass(kw_only=True)
class PricesConfig:
    as_of: str
    """Day of the table; prices change."""
    models: dict[str, ModelPrice]
    """By the beginning of a model's name; the longest that fits counts."""


@dataclass(kw_only=True)
class RunConfig:
    """One data set in the making."""

    output_dir: str
    """Everything the run makes. The same line goes on where an earlier one stopped."""
    journal_dir: str
    """Every reply that was ever paid for, by its request. Whoever asks the same finds it there,
    whatever else has changed."""
    workers: int
    """Processes that share the work and `in_flight`; one does about a thousand requests a second.
    """
    budget_usd: float | None
    """Stop before this much is spent on the data set, earlier starts included; null: no end."""

    def __post_init__(self) -> None:
        require(self.workers > 0, f"run.workers={self.workers} must be positive")
        budget = self.budget_usd
        require(budget is None or budget > 0, f"run.budget_usd={budget} must be positive")


def model_price(prices: PricesConfig, model: str) -> ModelPrice | None:
    """The table's entry for `model`."""
    fitting = [name for name in prices.models if re.match(re.escape(name) + r"(\b|$)", model)]
    return prices.models[max(fitting, key=len)] if fitting else None


def counter_for(prices: PricesConfig, endpoint: EndpointConfig) -> TokenCounter:
    """Counts tokens as the model does; for a model that the table does not have, as GPT-4o."""
    entry = model_price(prices, endpoint.model)
    return TokenCounter("o200k_base" if entry is None else entry.encoding)


def price_within_budget(
    prices: PricesConfig, endpoint: EndpointConfig, budget_usd: float | None
) -> Price | None:
    """The model's price; refuses a budget that could not be kept."""
    entry = model_price(prices, endpoint.model)
    if budget_usd is not None:
        require_bounded(entry, endpoint, budget_usd)
    return None if entry is None else Price(entry.input_usd, entry.output_usd)


def require_bounded(entry: ModelPrice | None, endpoint: EndpointConfig, budget_usd: float) -> None:
    if entry is None:
        raise InputError(
            f"run.budget_usd={budget_usd:g}, but prices.models has no price of {endpoint.model}: "
            f"add one, as in '+prices.models={{{endpoint.model}: {{input_usd: 1, output_usd: 2, "
            "encoding: o200k_base}}'"
        )
    lengths = [endpoint.parameters.get(key) for key in ("max_tokens", "max_completion_tokens")]
    require(
        any(lengths),
        f"run.budget_usd={budget_usd:g} needs the longest answer: set parameters.max_tokens",
    )
