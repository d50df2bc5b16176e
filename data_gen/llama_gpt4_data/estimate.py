"""`llama-gpt4 data estimate <task>`: what a run of the same line would ask and cost, also that of
`evaluate metric=judge` (`data estimate judge`) and of `answer engine=endpoint` (`data estimate
questions`). It sends nothing and needs no key."""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from llama_gpt4.answer import ENDPOINT
from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError
from llama_gpt4.evaluate import METRICS
from llama_gpt4.help import wants_help
from llama_gpt4.program import run_program, show
from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.estimable import Estimable
from llama_gpt4_data.forecast import (
    SMALLEST_PILOT,
    Forecast,
    Survey,
    TokenRange,
    forecast,
    pilot_within,
    survey,
)
from llama_gpt4_data.generate import journal_folder
from llama_gpt4_data.generation_config import (
    AskingConfig,
    PricesConfig,
    counter_for,
    price_of,
    unpriced,
)
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.ledger import Ledger, Price
from llama_gpt4_data.requests import longest_answer

PROGRAM = "data_gen/estimate"
GOOD_FRAC = 0.1
"""An estimate of the output that is this exact needs no larger pilot."""
PILOT = 350
"""Items of a first pilot: answers differ in length by nine tenths of their mean, so that fewer do
not make it that exact."""


@dataclass(kw_only=True)
class EstimateConfig:
    """What is known of replies before there are any."""

    replies: dict[str, TokenRange]
    """Tokens of an item's replies on average, by kind."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run has paid already, and what is to come."""

    seen: Survey
    coming: Forecast
    paid_usd: float
    price: Price | None
    """None: it is not known."""
    per_limit: int
    """Items that `limit` counts as one."""

    @property
    def usd(self) -> tuple[float, float]:
        """What is to come costs, low and high."""
        assert self.price is not None
        tokens, output = self.coming.input_tokens, self.coming.output
        return self.price.of(tokens, output.low), self.price.of(tokens, output.high)


def main(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        show("usage: llama-gpt4 data estimate <task> [the keys of that task]\n")
        return 0 if argv else 2
    task, rest = argv[0], list(argv[1:])
    try:
        estimable = find(task)
    except InputError as error:
        print(f"llama-gpt4 data estimate: {error}", file=sys.stderr)
        return 2
    rest = list(estimable.overrides(rest))
    if wants_help(estimable.program, estimable.schema, rest):
        return 0
    return run_program("data estimate", lambda report: run(task, estimable, rest))


def find(task: str) -> Estimable:
    """What the module of `task` says about itself."""
    from llama_gpt4_data.cli import TASKS  # which names this module, too

    asking = METRICS | TASKS | {"questions": (ENDPOINT, "")}
    if task in asking:
        found = getattr(importlib.import_module(asking[task][0]), "ESTIMABLE", None)
        if isinstance(found, Estimable):
            return found
        raise InputError(f"{task} asks no endpoint: it costs nothing")
    raise InputError(f"{task} is not a task; there are {', '.join(TASKS)}")


def run(task: str, estimable: Estimable, arguments: Sequence[str]) -> None:
    """Print what the task would take with these arguments."""
    config: Any = compose(estimable.schema, estimable.program, arguments)
    endpoint, prices = estimable.endpoint(config), config.prices
    found = estimate(estimable, config)
    print(described(task, found, config.run, endpoint, prices), flush=True)


def estimate(estimable: Estimable, config: Any) -> Estimate:
    """What a run with `config` would take; reads the journal and sends nothing."""
    items, endpoint = estimable.items(config), estimable.endpoint(config)
    journal = Journal(journal_folder(config.run, endpoint))
    price, counter = price_of(config.prices, endpoint), counter_for(config.prices, endpoint)
    ledger = Ledger(price, counter, batch_frac=config.prices.batch_frac)
    seen = survey(items, journal, counter, ledger)
    prior = compose(EstimateConfig, PROGRAM, []).replies[estimable.replies(config)]
    n_unseen = (estimable.rounds(config) - 1) * len(items)
    return Estimate(
        seen=seen,
        coming=forecast(seen, prior, longest_answer(endpoint.parameters), n_unseen),
        paid_usd=ledger.spent_usd,
        price=price,
        per_limit=estimable.per_limit(config),
    )


def described(
    task: str, found: Estimate, run: AskingConfig, endpoint: EndpointConfig, prices: PricesConfig
) -> str:
    """The estimate as a user reads it."""
    coming, encoding = found.coming, counter_for(prices, endpoint).encoding
    output = f"{coming.output.low:,.0f} to {coming.output.high:,.0f}"
    lines = [
        f"{task} by {endpoint.model} at {endpoint.address}; nothing was sent",
        f"  requests  {coming.requests:,.0f} to send{_paid(found)}",
        f"  input     {coming.input_tokens:,.0f} tokens, counted by {encoding}",
        f"  output    {output} tokens, {_basis(coming, found.per_limit)}",
    ]
    if found.price is None:
        return "\n".join([*lines, f"  cost      {unpriced(endpoint)}"])
    source = f"{prices.source}, {prices.as_of}" if endpoint.price is None else "the endpoint's own"
    low, high = found.usd
    low_batch, high_batch = low * prices.batch_frac, high * prices.batch_frac
    lines += [
        f"  cost      ${low:,.2f} to ${high:,.2f}",
        f"  in batch  ${low_batch:,.2f} to ${high_batch:,.2f}, by run.mode=batch",
        f"  price     ${found.price.input_usd:g} for a million tokens of input, "
        f"${found.price.output_usd:g} of output ({source})",
    ]
    if run.budget_usd is not None:
        left = run.budget_usd - found.paid_usd
        low, high = (low_batch, high_batch) if run.mode == "batch" else (low, high)
        will = "is enough" if high <= left else "may be enough" if low <= left else "is not enough"
        lines.append(f"  budget    run.budget_usd={run.budget_usd:g} {will}")
    return "\n".join(lines)


def _paid(found: Estimate) -> str:
    if not found.seen.n_paid:
        return ""
    usd = "" if found.price is None else f" (${found.paid_usd:,.2f})"
    return f"; {found.seen.n_paid:,} more are in the journal, paid already{usd}"


def _basis(coming: Forecast, per_limit: int = 1) -> str:
    """Where the range of the output comes from, and how it gets narrower."""
    pilot, output = coming.pilot, coming.output
    if not pilot:
        items = min(PILOT, round(coming.requests / 3))
        limit = -(-items // per_limit)
        hint = f": a run with limit={limit} first, and this comes from its replies"
        return "a rough guess" + (hint if items >= SMALLEST_PILOT else "")
    frac = (output.high - output.low) / 2 / output.middle if output.middle else 0.0
    basis = f"±{frac:.0%}: {len(pilot):,} items in the journal have {fmean(pilot):,.0f} on average"
    if frac > GOOD_FRAC:  # so that not all of the pilot's answers are empty
        wanted = pilot_within(pilot, GOOD_FRAC)
        if len(pilot) < wanted < len(pilot) + coming.requests:
            basis += f"; {wanted:,} would make it ±{GOOD_FRAC:.0%}"
    return basis
