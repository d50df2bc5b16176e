"""How many tokens a run will take, from its requests and from what the journal knows of them.

Input is counted. Output is guessed: from a prior range, or from a pilot, the items whose replies
are all there. A pilot also tells what the endpoint's own count of a prompt is, and how often an
item asks more than once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from llama_gpt4.errors import require
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.ledger import Ledger
from llama_gpt4_data.tokens import TokenCounter
from llama_gpt4_data.worker import Item, replies_to

SMALLEST_PILOT = 20
"""Finished items below which their mean is worth less than a prior."""
CONFIDENCE = 1.96
"""Standard errors to either side that hold the truth 19 times of 20."""


@dataclass(kw_only=True)
class TokenRange:
    """Tokens, at least and at most."""

    low: float
    high: float

    def __post_init__(self) -> None:
        require(0 <= self.low <= self.high, f"tokens: {self.low:g} to {self.high:g} is no range")

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


@dataclass
class Survey:
    """What there is to ask, and what is known of it."""

    n_paid: int = 0
    """Requests whose replies are in the journal."""
    paid_input: int = 0
    paid_output: int = 0
    """Their tokens, as the endpoint counted them, else as they are counted here."""
    counted_input: int = 0
    """The same input, counted here."""
    open_inputs: list[int] = field(default_factory=list)
    """For each item that is not finished, the tokens of the request that it waits for."""
    outputs: list[int] = field(default_factory=list)
    """For each finished item, the tokens of all its replies."""
    n_follow_ups: int = 0
    """Requests of finished items beyond the first of each."""
    follow_up_input: int = 0
    """Their tokens."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is still to come."""

    requests: float
    input_tokens: float
    output: TokenRange
    pilot: Sequence[int]
    """Output tokens of the finished items that the forecast is made from; empty: from a prior."""


def survey(
    items: Sequence[Item], journal: Journal, counter: TokenCounter, ledger: Ledger
) -> Survey:
    """Look at all requests of `items` that are known so far; `ledger` adds up what they cost."""
    seen = Survey()
    for item in items:
        replies, request = replies_to(item, journal)
        output = 0
        for place, reply in enumerate(replies):
            asked = item.request(replies[:place])
            assert asked is not None
            counted = counter.prompt(asked)
            charged = counted if reply.prompt_tokens is None else reply.prompt_tokens
            tokens = reply.completion_tokens
            output += counter.text(reply.text) if tokens is None else tokens
            ledger.add(asked, reply)
            seen.n_paid += 1
            seen.counted_input += counted
            seen.paid_input += charged
            if place and request is None:
                seen.n_follow_ups += 1
                seen.follow_up_input += charged
        seen.paid_output += output
        if request is not None:
            seen.open_inputs.append(counter.prompt(request))
        elif replies:
            seen.outputs.append(output)
    return seen


def forecast(seen: Survey, prior: TokenRange, longest: int | None, n_unseen: int = 0) -> Forecast:
    """What the open items will take, and `n_unseen` more like them, if no answer is longer than
    `longest`."""
    n = len(seen.open_inputs) + n_unseen
    counted = float(sum(seen.open_inputs))
    if n_unseen:
        per_item = (seen.open_inputs and fmean(seen.open_inputs)) or 0.0
        counted += n_unseen * per_item
    n_pilot = len(seen.outputs)
    if n_pilot < SMALLEST_PILOT:
        cap = math.inf if longest is None else longest
        low, high = (n * min(tokens, cap) for tokens in (prior.low, prior.high))
        output = TokenRange(low=low, high=high)
        return Forecast(requests=n, input_tokens=counted, output=output, pilot=())
    requests = n * (1 + seen.n_follow_ups / n_pilot)
    as_charged = counted * seen.paid_input / seen.counted_input
    return Forecast(
        requests=requests,
        input_tokens=as_charged + n * seen.follow_up_input / n_pilot,
        output=_like(seen.outputs, n, math.inf if longest is None else requests * longest),
        pilot=seen.outputs,
    )


def pilot_within(outputs: Sequence[int], frac: float) -> int:
    """Items that a pilot needs for a forecast within `frac` of the truth."""
    return math.ceil((CONFIDENCE * stdev(outputs) / fmean(outputs) / frac) ** 2)


def _like(outputs: Sequence[int], n: int, most: float) -> TokenRange:
    """The sum over `n` more items like those of `outputs`: the pilot's mean is uncertain, and so
    is the mean of those to come."""
    if not n:
        return TokenRange(low=0, high=0)
    middle = n * fmean(outputs)
    error = CONFIDENCE * n * stdev(outputs) * math.sqrt(1 / len(outputs) + 1 / n)
    return TokenRange(low=max(0.0, min(middle - error, most)), high=min(middle + error, most))
