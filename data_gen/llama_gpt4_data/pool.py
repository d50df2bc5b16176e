"""Requests to one endpoint, many at once: a fixed number of workers, retries, pauses, an end.

1. The first request goes alone: it says whether key, model and address are right, and its headers
   what the limits are, before hundreds follow.
2. A worker takes a request that is due again, or the next of the source, and sees it through. One
   that fails goes back with the time from which it may be tried again, and its worker goes on.
3. A worker ends when nothing is left to take; those that still wait for an answer are there for
   what becomes of it.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llama_gpt4_data.failures import RejectedError, TransientError, UnusableError
from llama_gpt4_data.ledger import BudgetReachedError, Ledger
from llama_gpt4_data.limits import Limiter
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.tokens import TokenCounter

if TYPE_CHECKING:
    from llama_gpt4_data.client import Client

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 60.0
"""Before a request that failed is tried again: doubled each time, less a random part."""
PROBE_ATTEMPTS = 3
"""Of the first request: an endpoint that never answered is more likely a wrong address."""
FAILED_IN_A_ROW = 50
"""So many requests, none with a reply in between, and the fault is not theirs."""
ANSWER_TOKENS = 256
"""Counted against a limit of tokens for an answer that may have any length."""


def backoff_seconds(attempts: int) -> float:
    """How long to wait after so many attempts that failed."""
    doubled = min(FIRST_WAIT_SECONDS * 2 ** (attempts - 1), LONGEST_WAIT_SECONDS)
    return doubled * random.uniform(0.5, 1.0)


@dataclass(eq=False)
class Work:
    """A request on its way to a reply."""

    item: int
    """Number of what it is asked for; the pool only passes it on."""
    request: Request
    attempts: int = 0


class Pool:
    """Sees requests through to their replies or their failure."""

    def __init__(
        self,
        client: "Client",
        limiter: Limiter,
        ledger: Ledger,
        counter: TokenCounter,
        *,
        in_flight: int,
        attempts: int,
    ) -> None:
        self._client, self._limiter, self._ledger = client, limiter, ledger
        self._counter = counter
        self._in_flight, self._attempts = in_flight, attempts
        self._waiting: list[tuple[float, int, Work]] = []
        self._serial = itertools.count()
        self._stopped = asyncio.Event()
        self._failed_in_a_row = 0
        self._has_replied = False
        self.retries: Counter[str] = Counter()
        """Reasons of attempts that were not the last."""
        self.trouble: Exception | None = None
        """Why no more is asked: an `UnusableError`, `BudgetReachedError` or a full disk."""

    async def run(
        self,
        source: Iterator[Work],
        on_reply: Callable[[Work, Reply], Work | None],
        on_failure: Callable[[Work, str], None],
    ) -> None:
        """Work through `source`. `on_reply` may return more work that follows from the reply."""
        self._source, self._on_reply, self._on_failure = source, on_reply, on_failure
        while not self._has_replied and (first := await self._next(alone=True)) is not None:
            await self._see_through(first)
        workers = [asyncio.create_task(self._work()) for _ in range(self._in_flight)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self, trouble: Exception | None = None) -> None:
        """Send nothing more; what is under way ends as it does."""
        self.trouble = self.trouble or trouble
        self._stopped.set()
        self._limiter.close()

    async def _work(self) -> None:
        while (work := await self._next()) is not None:
            await self._see_through(work)

    async def _next(self, *, alone: bool = False) -> Work | None:
        """What is due again, else what is new; `alone`: nothing new while anything is to be tried
        again. None: nothing is left, or all has been stopped."""
        if self.is_stopped:
            return None
        if self._waiting and self._waiting[0][0] <= time.monotonic():
            return heapq.heappop(self._waiting)[2]
        work = None if alone and self._waiting else next(self._source, None)
        if work is not None or not self._waiting:
            return work
        due, _, work = heapq.heappop(self._waiting)
        return work if await self._sleep_until(due) else None

    async def _sleep_until(self, due: float) -> bool:
        """Whether the time came before the end of all."""
        try:
            await asyncio.wait_for(self._stopped.wait(), max(0.0, due - time.monotonic()))
        except TimeoutError:
            return True
        return False

    async def _see_through(self, work: Work) -> None:
        """Send it once, and do what follows from that."""
        try:
            reserved_usd = await self._ledger.reserve(work.request)
        except BudgetReachedError as error:
            return self.stop(error)
        await self._limiter.admit(self._tokens(work.request))
        try:
            if self.is_stopped:
                return self._ledger.release(reserved_usd)
            work.attempts += 1
            await self._send(work, reserved_usd)
        finally:
            self._limiter.ended()

    async def _send(self, work: Work, reserved_usd: float) -> None:
        try:
            reply, limits = await self._client.send(work.request)
        except TransientError as error:
            self._ledger.release(reserved_usd, lost=work.request if error.is_paid else None)
            self._limiter.saw(error.limits)
            self._try_again(work, error)
        except RejectedError as error:
            self._ledger.release(reserved_usd)
            self._fail(work, str(error), is_own=error.is_own)
        except UnusableError as error:
            self._ledger.release(reserved_usd)
            self.stop(error)
        except asyncio.CancelledError:
            self._ledger.release(reserved_usd, lost=work.request)
            raise
        else:
            self._ledger.charge(reserved_usd, work.request, reply)
            self._limiter.saw(limits)
            self._limiter.succeeded()
            self._failed_in_a_row, self._has_replied = 0, True
            more = self._on_reply(work, reply)
            if more is not None:
                self._put_off(more, 0.0)

    def _try_again(self, work: Work, error: TransientError) -> None:
        asked_seconds = error.limits.retry_after_seconds or 0.0
        if error.is_rate_limit:
            self._limiter.pause(error.limits.retry_after_seconds)
        if work.attempts >= self._attempts:
            return self._fail(work, f"{error} ({work.attempts} attempts)")
        if not self._has_replied and work.attempts >= PROBE_ATTEMPTS:
            return self.stop(UnusableError(str(error)))
        self.retries[str(error)] += 1
        if error.is_rate_limit and self._limiter.open_at > time.monotonic():
            return self._put_off(work, self._limiter.open_at)
        wait_seconds = max(backoff_seconds(work.attempts), asked_seconds)
        self._put_off(work, time.monotonic() + wait_seconds)

    def _fail(self, work: Work, reason: str, *, is_own: bool = False) -> None:
        """`is_own`: it says nothing about the endpoint, however many there are in a row."""
        self._on_failure(work, reason)
        self._failed_in_a_row += not is_own
        if self._failed_in_a_row >= FAILED_IN_A_ROW:
            self.stop(UnusableError(f"{self._failed_in_a_row} requests in a row failed: {reason}"))

    def _put_off(self, work: Work, due: float) -> None:
        heapq.heappush(self._waiting, (due, next(self._serial), work))

    def _tokens(self, request: Request) -> int:
        if not self._limiter.counts_tokens:
            return 0
        return self._counter.prompt(request) + (request.max_tokens or ANSWER_TOKENS)
