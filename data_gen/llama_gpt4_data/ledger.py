"""Money: what was spent, what the requests under way may still cost, and where that has to stop."""

import asyncio
from dataclasses import dataclass

from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.tokens import TokenCounter

MILLION = 1_000_000


class BudgetReachedError(Exception):
    """The next request could pass the budget, and none is under way that could leave some of it."""


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens."""

    input_usd: float
    output_usd: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.input_usd + completion_tokens * self.output_usd) / MILLION


class Ledger:
    """Spending of one run. What may have been charged counts as charged."""

    def __init__(
        self, price: Price | None, counter: TokenCounter, budget_usd: float | None = None
    ) -> None:
        assert price is not None or budget_usd is None
        self._price, self._counter, self._budget_usd = price, counter, budget_usd
        self.spent_usd = 0.0
        self.lost_usd = 0.0
        """At most, for answers that never arrived whole."""
        self._reserved_usd, self._n_reserved = 0.0, 0
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

    def release(self, reserved_usd: float, *, is_paid: bool = False) -> None:
        """The request has ended without a reply; `is_paid`: it may have been charged."""
        self._settle(reserved_usd)
        if is_paid:
            self.lost_usd += reserved_usd

    def charge(self, reserved_usd: float, request: Request, reply: Reply) -> None:
        """The request has its reply, which cost what its tokens say."""
        self._settle(reserved_usd)
        self.spent_usd += self.cost(request, reply)

    def cost(self, request: Request, reply: Reply) -> float:
        """What `reply` cost; tokens that the endpoint did not count are counted here."""
        if self._price is None:
            return 0.0
        prompt, completion = reply.prompt_tokens, reply.completion_tokens
        return self._price.of(
            self._counter.prompt(request) if prompt is None else prompt,
            self._counter.text(reply.text) if completion is None else completion,
        )

    def _most(self, request: Request) -> float:
        assert self._price is not None and request.max_tokens is not None
        return self._price.of(self._counter.prompt(request), request.max_tokens)

    def _settle(self, reserved_usd: float) -> None:
        if self._budget_usd is not None:
            self._reserved_usd -= reserved_usd
            self._n_reserved -= 1
            self._changed.set()
