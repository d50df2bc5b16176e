"""`run.mode=batch`: asks for all that the journal does not have by the Batch API.

1. Open requests that are not under way go into shards, as far as the budget has room for the most
   that they can cost, and each shard becomes a batch.
2. When a batch ends, its answers are in the journal. What it left open, and what follows from an
   answer (a rest, a second try), goes into the next shards.
3. It ends when nothing is under way and nothing more can be asked.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.program import SIGNALS
from llama_gpt4_data.batch_book import BatchBook, Origin
from llama_gpt4_data.batch_lines import cut, request_line
from llama_gpt4_data.batch_watch import BatchWatch, Ended
from llama_gpt4_data.client import connect
from llama_gpt4_data.endpoint_config import EndpointConfig, api_key
from llama_gpt4_data.failures import RejectedError, TransientError, UnusableError, first_line
from llama_gpt4_data.generation_config import AskingConfig
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.ledger import OUT_OF_BUDGET, BudgetReachedError, Ledger
from llama_gpt4_data.requests import Request
from llama_gpt4_data.worker import Item, Outcome, replies_to

QUEUE_IS_FULL = "token_limit_exceeded"
"""All batches of the account together have too many tokens; it passes when one has ended."""
PASSING = frozenset({QUEUE_IS_FULL, "server_error", "internal_error"})
"""Codes of a batch that failed as a whole, and that the same batch may not meet again."""


@dataclass(kw_only=True)
class BatchJob:
    """What is to be asked, and what is there."""

    task: str
    items: Sequence[Item]
    places: Sequence[int]
    """Of the items that still need a reply."""
    journal: Journal
    journal_dir: Path
    ledger: Ledger
    """Charged with the replies that are there."""
    run: AskingConfig
    endpoint: EndpointConfig


@dataclass(kw_only=True)
class BatchOutcome(Outcome):
    is_interrupted: bool = False
    """A signal asked it to stop."""
    n_batches: int = 0
    """That go on without this program."""


def ask_in_batches(job: BatchJob) -> BatchOutcome:
    """See `job` through, however many batches it takes; a signal ends the watching, not them."""
    output_dir = Path(job.run.output_dir)
    origin = Origin(
        endpoint=replace(job.endpoint, price=None),  # the next start may know a better one
        journal_dir=str(job.journal_dir),
        batch=job.run.batch,
    )
    outcome = BatchOutcome()
    book = BatchBook(output_dir, origin)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        asyncio.run(_ask(job, book, outcome))
    except asyncio.CancelledError:
        outcome.is_interrupted = True
    except InputError as error:
        outcome.trouble = str(error)
    except BudgetReachedError:
        outcome.trouble = OUT_OF_BUDGET
    except (TransientError, RejectedError, UnusableError) as error:
        outcome.trouble = (
            f"{job.endpoint.model} at {job.endpoint.address} does not answer in batches: {error}"
        )
    finally:
        for number, handler in before.items():  # asyncio leaves the system's own behind
            signal.signal(number, handler)
        job.journal.close()
    outcome.n_batches = len(book.under_way)
    return outcome


async def _ask(job: BatchJob, book: BatchBook, outcome: BatchOutcome) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with connect(job.endpoint, api_key(job.endpoint), in_flight=1) as client:
        watch = BatchWatch(client, book, job.journal)
        run = BatchRun(job, watch)
        try:
            with _progress() as bar:
                await run.see_through(bar)
        finally:
            outcome.retries = watch.retries + run.retries
            outcome.failures, outcome.lost_usd = run.failures, run.lost_usd


@dataclass
class _Open:
    """A request that has no reply yet."""

    request: Request
    places: list[int] = field(default_factory=list)
    """Of the items that wait for it; equal requests are asked once."""
    most_usd: float | None = None
    """That it can cost, where that was counted."""


class BatchRun:
    """From open requests to batches, and from ended batches to what is open then."""

    def __init__(self, job: BatchJob, watch: BatchWatch) -> None:
        self._job, self._watch = job, watch
        self._open: dict[str, _Open] = {}
        for place in job.places:
            self._add_next(place)
        self._attempts: Counter[str] = Counter()
        self._n_refused = 0
        """Batches that failed as a whole, since one last had an answer."""
        self._queue_is_full = False
        self.failures: dict[int, str] = {}
        """Why an item has no reply, by its place."""
        self.lost_usd = 0.0
        """At most, on answers that were none."""
        self.retries: Counter[str] = Counter()
        """Reasons why requests went into another batch."""

    async def see_through(self, bar: Any) -> None:
        """Hand over, watch and take in, until nothing is open or nothing more may be asked."""
        metadata = {
            "program": "llama-gpt4",
            "task": self._job.task,
            "run": Path(self._job.run.output_dir).resolve().name[:500],
        }
        await self._watch.attach(metadata)
        while True:
            await self._hand_over(metadata)
            if not self._watch.under_way:
                return
            ended = await self._watch.next_ended(lambda: self._show(bar))
            self._follow_up(ended)
            self._show(bar)

    async def _hand_over(self, metadata: dict[str, str]) -> None:
        """Make batches of all that is open, as far as queue and budget have room."""
        under_way = self._watch.keys
        requests = [asked.request for key, asked in self._open.items() if key not in under_way]
        while requests and not (self._queue_is_full and self._watch.under_way):
            lines = cut(requests, self._job.run.batch, self._most_usd, self._left_usd())
            n = len(lines)
            if n:
                await self._watch.hand_over(lines, metadata)
            elif (n_bytes := len(request_line(requests[0]))) > self._job.run.batch.most_bytes:
                self._fail(requests[0].key, f"its line of {n_bytes} bytes fits into no batch file")
                n = 1
            elif self._watch.under_way:
                return  # they may cost less than the most that is put aside for them
            else:
                raise BudgetReachedError
            requests = requests[n:]

    def _follow_up(self, ended: Ended) -> None:
        for reply in ended.replies:
            if (answered := self._open.pop(reply.key, None)) is not None:
                self._job.ledger.add(answered.request, reply)
                for place in answered.places:
                    self._add_next(place)
        if ended.replies:
            self._n_refused = 0
        if ended.remote.status == "failed":
            return self._refused(ended)
        self._queue_is_full = False
        for key, failure in ended.failures.items():
            self._try_again(key, failure)

    def _refused(self, ended: Ended) -> None:
        """A batch failed as a whole: wait for the others, make it again, or give up."""
        errors = ended.remote.errors
        said = first_line("; ".join(f"{code}: {message}" for code, message in errors[:3]) or "?")
        reason = f"batch {ended.remote.id} failed: {said}"
        if any(code not in PASSING for code, _ in errors):
            raise UnusableError(reason)
        if self._watch.under_way and any(code == QUEUE_IS_FULL for code, _ in errors):
            self._queue_is_full = True
        else:
            self._n_refused += 1
        if self._n_refused >= self._job.endpoint.attempts:
            raise UnusableError(
                f"{reason} ({self._n_refused} attempts); smaller batches may do: "
                f"run.batch.most_requests={max(1, len(ended.failures) // 2)}"
            )
        self.retries[said] += len(ended.failures)

    def _try_again(self, key: str, failure: Exception) -> None:
        if isinstance(failure, UnusableError):
            raise failure
        if isinstance(failure, RejectedError):
            return self._fail(key, str(failure))
        if isinstance(failure, TransientError) and failure.is_paid and key in self._open:
            self.lost_usd += self._job.ledger.most_in_batch(self._open[key].request)
        self._attempts[key] += 1
        if self._attempts[key] >= self._job.endpoint.attempts:
            return self._fail(key, f"{failure} ({self._attempts[key]} attempts)")
        self.retries[str(failure)] += 1

    def _fail(self, key: str, reason: str) -> None:
        if (failed := self._open.pop(key, None)) is not None:
            self.failures |= dict.fromkeys(failed.places, reason)

    def _add_next(self, place: int) -> None:
        """What the item at `place` asks next, if it does not have all it needs."""
        _, request = replies_to(self._job.items[place], self._job.journal)
        if request is not None:
            self._open.setdefault(request.key, _Open(request)).places.append(place)

    def _most_usd(self, request: Request) -> float:
        """That `request` can cost; counted once, and only where there is a budget."""
        if self._job.run.budget_usd is None:
            return 0.0
        asked = self._open[request.key]
        if asked.most_usd is None:
            asked.most_usd = self._job.ledger.most_in_batch(request)
        return asked.most_usd

    def _left_usd(self) -> float:
        if self._job.run.budget_usd is None:
            return 0.0
        asked = (self._open[key].request for key in self._watch.keys if key in self._open)
        reserved_usd = sum(self._most_usd(request) for request in asked)
        ledger = self._job.ledger
        gone_usd = ledger.spent_usd + ledger.lost_usd + self.lost_usd
        return self._job.run.budget_usd - gone_usd - reserved_usd

    def _show(self, bar: Any) -> None:
        """Requests of all batches of this run: answered or failed, of how many."""
        seen = self._watch.seen.values()
        n_failed = sum(failed for _, failed, _ in seen)
        bar.total = sum(total for _, _, total in seen)
        bar.n = sum(completed for completed, _, _ in seen) + n_failed
        shown = [f"{len(self._watch.under_way)} batches under way", f"{n_failed} failed"]
        if self._job.ledger.has_price:
            shown.append(f"${self._job.ledger.spent_usd:.2f}")
        bar.set_postfix_str(", ".join(shown), refresh=True)


def _progress() -> Any:
    from tqdm import tqdm

    return tqdm(total=0, unit="request", smoothing=0.1)
