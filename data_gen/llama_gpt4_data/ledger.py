"""Money: what was spent, what the requests under way may still cost, and where that has to stop."""

import asyncio
import math
from dataclasses import dataclass

from llama_gpt4.errors import require
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.tokens import TokenCounter

MILLION = 1_000_000
OUT_OF_BUDGET = "run.budget_usd"
"""What a run reports that this brought to its end."""


class BudgetReachedError(Exception):
    """The next request could pass the budget, and none is under way that could leave some of it."""


@dataclass(kw_only=True)
class Price:
    """US dollars for a million tokens."""

    input_usd: float
    output_usd: float

    def __post_init__(self) -> None:
        for name in ("input_usd", "output_usd"):
            require(getattr(self, name) >= 0, f"price: {name}={getattr(self, name)} is negative")

    @property
    def is_any(self) -> bool:
        return self.input_usd > 0 or self.output_usd > 0

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        return (prompt_tokens * self.input_usd + completion_tokens * self.output_usd) / MILLION


class Ledger:
    """Spending of one run. What may have been charged counts as charged."""

    def __init__(
        self,
        price: Price | None,
        counter: TokenCounter,
        budget_usd: float | None = None,
        *,
        batch_frac: float = 1.0,
    ) -> None:
        """`batch_frac` of the price is what the Batch API takes."""
        assert price is not None or budget_usd is None
        self._price, self._counter, self._budget_usd = price, counter, budget_usd
        self._batch_frac = batch_frac
        self.spent_usd = 0.0
        self.lost_usd = 0.0
        """At most, for answers that never arrived whole."""
        self._lost: list[Request] = []
        """Those that nobody needs to know the cost of before the end: counting them takes time in
        which replies would wait."""
        self._reserved_usd, self._n_reserved = 0.0, 0
        self._most_per_counted = 1.0
        """Tokens that the endpoint found in a prompt for one that is counted here, at most: servers
        have tokenizers of their own, and put words of their own before ours."""
        self._changed = asyncio.Event()

    @property
    def has_price(self) -> bool:
        return self._price is not None

    async def reserve(self, request: Request) -> float:
        """Put aside the most that `request` can cost, as soon as the budget has room for it; raises
        `BudgetReachedError` where it never will."""
        if self._budget_usd is None:
            return 0.0
        most = self._most(request)
        while self.spent_usd + self.lost_usd + self._reserved_usd + most > self._budget_usd:
            if not self._n_reserved:
                raise BudgetReachedError
            self._changed.clear()
            await self._changed.wait()
        self._reserved_usd += most
        self._n_reserved += 1
        return most

    def release(self, reserved_usd: float, *, lost: Request | None = None) -> None:
        """A request has ended without a reply; it is `lost` if it may have been charged."""
        self._settle(reserved_usd)
        if lost is not None and self._budget_usd is not None:
            self.lost_usd += self._most(lost)
        elif lost is not None:
            self._lost.append(lost)

    def close(self) -> None:
        """Count what was not counted on the way."""
        self.lost_usd += sum(map(self._most, self._lost))
        self._lost.clear()

    def charge(self, reserved_usd: float, request: Request, reply: Reply) -> None:
        """The request has its reply, which cost what its tokens say."""
        self._settle(reserved_usd)
        self.add(request, reply)

    def add(self, request: Request, reply: Reply) -> None:
        """Count a reply that nothing was put aside for: it was there, or it came in a batch."""
        self.spent_usd += self.cost(request, reply)
        if self._budget_usd is not None and reply.prompt_tokens is not None:
            seen = reply.prompt_tokens / self._counter.prompt(request)
            self._most_per_counted = max(self._most_per_counted, seen)

    def cost(self, request: Request, reply: Reply) -> float:
        """What `reply` cost; tokens that the endpoint did not count are counted here."""
        if self._price is None or not self._price.is_any:
            return 0.0
        prompt, completion = reply.prompt_tokens, reply.completion_tokens
        usd = self._price.of(
            self._counter.prompt(request) if prompt is None else prompt,
            self._counter.text(reply.text) if completion is None else completion,
        )
        return usd * self._batch_frac if reply.is_batch else usd

    def most_in_batch(self, request: Request) -> float:
        """The most that `request` can cost by the Batch API."""
        return self._most(request) * self._batch_frac

    def _most(self, request: Request) -> float:
        """Without a longest answer, which a budget asks for, only what the prompt costs."""
        if self._price is None or not self._price.is_any:
            return 0.0
        prompt = math.ceil(self._counter.prompt(request) * self._most_per_counted)
        return self._price.of(prompt, request.max_tokens or 0)

    def _settle(self, reserved_usd: float) -> None:
        if self._budget_usd is not None:
            self._reserved_usd -= reserved_usd
            self._n_reserved -= 1
            self._changed.set()
