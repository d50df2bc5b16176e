"""One process that asks: its share of the items, one event loop, a journal of its own."""

import asyncio
import contextlib
import os
import signal
import traceback
from collections import Counter
from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Protocol

from llama_gpt4.errors import InputError
from llama_gpt4.program import SIGNALS, end_with_parent
from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.failures import UnusableError
from llama_gpt4_data.journal import SYNC_SECONDS, Journal
from llama_gpt4_data.ledger import OUT_OF_BUDGET, BudgetReachedError, Ledger, Price
from llama_gpt4_data.limits import Limiter
from llama_gpt4_data.pool import Pool, Work
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.tokens import TokenCounter


class Item(Protocol):
    """What is made from an endpoint's replies, by one request or by several that follow on."""

    def request(self, replies: Sequence[Reply]) -> Request | None:
        """What is to be asked after `replies`, the same each time; None: it has all it needs."""


def replies_to(item: Item, journal: Journal) -> tuple[list[Reply], Request | None]:
    """What `journal` holds for `item`, and what is still to be asked; None: nothing."""
    replies: list[Reply] = []
    while (request := item.request(replies)) is not None:
        reply = journal.reply(request.key)
        if reply is None:
            return replies, request
        replies.append(reply)
    return replies, None


@dataclass(kw_only=True)
class Share:
    """What one worker has to do and may use up."""

    items: Sequence[Item]
    places: Sequence[int]
    """Of the items that are this worker's."""
    frac: float
    """Of the endpoint's limits."""
    in_flight: int
    endpoint: EndpointConfig
    api_key: str
    price: Price | None
    counter: TokenCounter
    budget_usd: float | None


@dataclass(kw_only=True)
class Outcome:
    """What a worker reports at its end, apart from the replies in the journal."""

    failures: dict[int, str] = field(default_factory=dict)
    """Why an item has no reply, by its place."""
    retries: Counter[str] = field(default_factory=Counter)
    """Attempts that were not the last, by reason."""
    limits: str = ""
    lost_usd: float = 0.0
    """At most, on answers that never arrived whole."""
    trouble: str | None = None
    """Why no more was asked."""
    bug: str | None = None
    """A traceback."""


def run_worker(
    share: Share, journal: Journal, meter: MutableSequence[float], report: Connection
) -> None:
    """The life of a worker process; `meter` shows finished items, failed ones and dollars."""
    end_with_parent(signal.SIGKILL)  # what is in flight then is asked again
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to pass on
    outcome = Outcome()
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_ask(share, journal, meter, outcome))
    except InputError as error:
        outcome.trouble = str(error)
    except Exception:  # a bug belongs to the parent, which shows it and ends the others
        outcome.bug = traceback.format_exc()
    report.send(outcome)
    # Without tearing down what was inherited from the parent.
    os._exit(0)


async def _ask(
    share: Share, journal: Journal, meter: MutableSequence[float], outcome: Outcome
) -> None:
    from llama_gpt4_data.client import connect

    endpoint = share.endpoint
    limiter = Limiter(
        share.in_flight, endpoint.requests_per_minute, endpoint.tokens_per_minute, frac=share.frac
    )
    ledger = Ledger(share.price, share.counter, share.budget_usd)
    async with connect(endpoint, share.api_key, share.in_flight) as client:
        pool = Pool(
            client,
            limiter,
            ledger,
            share.counter,
            in_flight=share.in_flight,
            attempts=endpoint.attempts,
        )
        _stop_by_signal(pool)
        syncing = asyncio.create_task(_sync(journal))

        def on_reply(work: Work, reply: Reply) -> Work | None:
            journal.append(reply)
            meter[2] = ledger.spent_usd
            _, request = replies_to(share.items[work.item], journal)
            if request is not None:
                return Work(work.item, request)
            meter[0] += 1
            return None

        def on_failure(work: Work, reason: str) -> None:
            outcome.failures[work.item] = reason
            meter[1] += 1

        try:
            await pool.run(_works(share, journal), on_reply, on_failure)
        finally:
            syncing.cancel()
            journal.close()
            ledger.close()
            outcome.retries, outcome.lost_usd = pool.retries, ledger.lost_usd
            outcome.limits = limiter.described()
            outcome.trouble = _described(pool.trouble, endpoint)


def _works(share: Share, journal: Journal) -> Iterator[Work]:
    for place in share.places:
        _, request = replies_to(share.items[place], journal)
        if request is not None:
            yield Work(place, request)


def _stop_by_signal(pool: Pool) -> None:
    """The parent's first signal ends the asking, its second what is in flight; those that came
    before, which it held back, count."""
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if pool.is_stopped:
            task.cancel()
        pool.stop()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


async def _sync(journal: Journal) -> None:
    while True:
        await asyncio.sleep(SYNC_SECONDS)
        journal.sync()


def _described(trouble: Exception | None, endpoint: EndpointConfig) -> str | None:
    if isinstance(trouble, BudgetReachedError):
        return OUT_OF_BUDGET
    if isinstance(trouble, UnusableError):
        return f"{endpoint.model} at {endpoint.address} does not answer: {trouble}"
    return None if trouble is None else str(trouble)
