"""What all tasks that ask an endpoint share: where things go, how much at most, what it costs."""

import re
from dataclasses import dataclass

from llama_gpt4.errors import InputError, require, require_one_of
from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.ledger import Price
from llama_gpt4_data.requests import longest_answer
from llama_gpt4_data.tokens import ENCODINGS, TokenCounter


@dataclass(kw_only=True)
class ModelPrice(Price):
    """What a model costs, and how its tokens are counted."""

    encoding: str
    """`cl100k_base` or `o200k_base`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("price: encoding", self.encoding, ENCODINGS)


@dataclass(kw_only=True)
class PricesConfig:
    as_of: str
    """Day of the table; prices change."""
    source: str
    """Where the table comes from."""
    batch_frac: float
    """What the Batch API takes of these prices."""
    models: dict[str, ModelPrice]
    """By a model's name, which its dated snapshots (`-0613`, `-2024-08-06`) share unless they have
    an entry of their own. The `price` of an endpoint comes before the table."""

    def __post_init__(self) -> None:
        require(0 < self.batch_frac <= 1, f"prices.batch_frac={self.batch_frac} is not in (0, 1]")


@dataclass(kw_only=True)
class BatchConfig:
    """How requests are handed over by the Batch API."""

    most_requests: int
    """In one batch; fewer where the account's queue of tokens has no room for so many."""
    most_bytes: int
    """Of one batch's file."""
    poll_seconds: float
    """Before batches are looked at again; it grows by half each time that none has ended."""
    longest_poll_seconds: float

    def __post_init__(self) -> None:
        for name in ("most_requests", "most_bytes", "poll_seconds"):
            value = getattr(self, name)
            require(value > 0, f"run.batch.{name}={value} must be positive")
        require(
            self.longest_poll_seconds >= self.poll_seconds,
            f"run.batch.longest_poll_seconds={self.longest_poll_seconds:g} is shorter than "
            f"run.batch.poll_seconds={self.poll_seconds:g}",
        )


@dataclass(kw_only=True)
class AskingConfig:
    """What everything that asks an endpoint needs to know."""

    output_dir: str
    """Everything the run makes. The same line goes on where an earlier one stopped."""
    journal_dir: str
    """Every reply that was ever paid for, by its request. Whoever asks the same finds it there,
    whatever else has changed."""
    workers: int
    """Processes that share the work and `in_flight`; one does about a thousand requests a second.
    """
    budget_usd: float | None
    """Stop before this much is spent on the run, earlier starts included; null: no end."""
    mode: str
    """`live`: many requests at once; `batch`: OpenAI's Batch API, cheaper and within a day."""
    batch: BatchConfig

    def __post_init__(self) -> None:
        require_one_of("run.mode", self.mode, ("live", "batch"))
        require(self.workers > 0, f"run.workers={self.workers} must be positive")
        budget = self.budget_usd
        require(budget is None or budget > 0, f"run.budget_usd={budget} must be positive")


@dataclass(kw_only=True)
class RunConfig(AskingConfig):
    """One data set in the making."""

    source_licence: str | None
    """Of the records that the data set is made from, as Hugging Face spells it, for its card; null:
    not known."""
    arrow: bool
    """Also write the folder `arrow`, for `datasets.load_from_disk`."""


def model_price(prices: PricesConfig, model: str) -> ModelPrice | None:
    """The table's entry for `model`; a model that is only called alike may cost ten times as much,
    and has none."""
    undated = re.sub(r"-\d{4}(-\d{2}-\d{2})?$", "", model)
    return prices.models.get(model) or prices.models.get(undated)


def price_of(prices: PricesConfig, endpoint: EndpointConfig) -> Price | None:
    """What the endpoint's model costs; None: nobody has said."""
    return endpoint.price or model_price(prices, endpoint.model)


def counter_for(prices: PricesConfig, endpoint: EndpointConfig) -> TokenCounter:
    """Counts tokens as the model does; for a model that the table does not have, as GPT-4o."""
    entry = model_price(prices, endpoint.model)
    return TokenCounter("o200k_base" if entry is None else entry.encoding)


def price_within_budget(
    prices: PricesConfig, endpoint: EndpointConfig, budget_usd: float | None
) -> Price | None:
    """The model's price; refuses a budget that could not be kept."""
    price = price_of(prices, endpoint)
    if budget_usd is None:
        return price
    if price is None:
        raise InputError(f"run.budget_usd={budget_usd:g} cannot be kept: {unpriced(endpoint)}")
    require(
        longest_answer(endpoint.parameters) is not None,
        f"run.budget_usd={budget_usd:g} needs the longest answer: set parameters.max_tokens",
    )
    return price


def unpriced(endpoint: EndpointConfig) -> str:
    """What to do about a model that has no price."""
    return (
        f"the price of {endpoint.model} is not known: say what a million tokens cost, as in "
        "'teacher.price={input_usd: 2.5, output_usd: 10}' (for other roles judge.price, "
        "translator.price)"
    )
