"""Items in, replies in the journal: asks for all that is not there yet, in worker processes.

The parent shows progress and passes signals on; workers share the items among them, and each
writes a journal of its own. Whatever ends a run, what it paid for stays, and the same items go on
from there.
"""

import json
import multiprocessing
import resource
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from llama_gpt4.errors import InputError
from llama_gpt4.program import SIGNALS
from llama_gpt4_data.batch_book import has_batches, require_batches, require_no_batches
from llama_gpt4_data.endpoint_config import EndpointConfig, api_key
from llama_gpt4_data.generation_config import (
    AskingConfig,
    PricesConfig,
    counter_for,
    price_within_budget,
)
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.ledger import OUT_OF_BUDGET, Ledger
from llama_gpt4_data.worker import Item, Outcome, Share, replies_to, run_worker

SHOW_SECONDS = 0.2
SPARE_FILES = 64
"""Open files that a process has beside its connections."""
FORK = multiprocessing.get_context("fork")
"""Workers find items and journal in the memory that they inherit."""


@dataclass
class Generated:
    """What came of the items; their replies are in the journal."""

    failures: dict[int, str] = field(default_factory=dict)
    """Why an item has no reply, by its place."""
    retries: Counter[str] = field(default_factory=Counter)
    """Attempts that were not the last, by reason."""
    limits: str = ""
    """Those of the endpoint, and where they come from."""
    spent_usd: float | None = None
    """On all replies of these items, whenever they were paid; None: the price is not known."""
    lost_usd: float = 0.0
    """At most, on answers that never arrived whole."""
    trouble: str | None = None
    """Why no more was asked: the budget, an endpoint that refuses all, a full disk."""
    is_interrupted: bool = False
    """A signal asked it to stop."""
    n_batches: int = 0
    """Under way at the endpoint, which go on without this program."""


def generate(
    items: Sequence[Item],
    run: AskingConfig,
    endpoint: EndpointConfig,
    prices: PricesConfig,
    *,
    task: str = "data",
) -> tuple[Generated, Journal]:
    """Ask `endpoint` for all replies that `items` still need, and give the journal with them;
    batches are named after `task`."""
    generated = Generated(lost_usd=lost_before(Path(run.output_dir)))
    if run.mode == "batch":
        journal, ledger = _ask_in_batches(items, run, endpoint, prices, generated, task)
    else:
        journal, ledger = _ask_live(items, run, endpoint, prices, generated)
    generated.spent_usd = ledger.spent_usd if ledger.has_price else None
    return generated, journal


def _ask_live(
    items: Sequence[Item],
    run: AskingConfig,
    endpoint: EndpointConfig,
    prices: PricesConfig,
    generated: Generated,
) -> tuple[Journal, Ledger]:
    """Ask request by request, in worker processes."""
    price = price_within_budget(prices, endpoint, run.budget_usd)
    counter = counter_for(prices, endpoint)
    folder = journal_folder(run, endpoint)
    journal = Journal(folder)
    ledger = Ledger(price, counter, batch_frac=prices.batch_frac)
    todo = _open_places(items, journal, ledger)
    n = min(run.workers, len(todo), endpoint.in_flight)
    if todo:
        journal.require_writable()
        require_no_batches(Path(run.output_dir))
        raise_file_limit(endpoint.in_flight)
    while todo:
        import llama_gpt4_data.client  # noqa: F401  # slow: once, before workers are forked

        if run.budget_usd is not None:
            counter.load()  # as slow; every request is counted before it is sent
        spent_usd = ledger.spent_usd + generated.lost_usd
        left_usd = None if run.budget_usd is None else run.budget_usd - spent_usd
        shares = [
            Share(
                items=items,
                places=todo[worker::n],
                frac=1 / n,
                in_flight=-(-endpoint.in_flight // n),
                endpoint=endpoint,
                api_key=api_key(endpoint),
                price=price,
                counter=counter,
                budget_usd=None if left_usd is None else left_usd / n,
            )
            for worker in range(n)
        ]
        # None may come between a worker's birth and the moment when both know what to do with it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        workers = [Worker(share, journal) for share in shares]
        generated.is_interrupted = _wait(workers, len(items), len(items) - len(todo), ledger)
        generated.trouble = None
        for worker in workers:
            _add(generated, worker.outcome(), run)
        journal = Journal(folder)
        ledger = Ledger(price, counter, batch_frac=prices.batch_frac)
        todo = [p for p in _open_places(items, journal, ledger) if p not in generated.failures]
        if n == 1 or generated.trouble != OUT_OF_BUDGET or generated.is_interrupted:
            break
        n = 1  # of what the workers' budgets have left over there may be enough for one
    return journal, ledger


def _ask_in_batches(
    items: Sequence[Item],
    run: AskingConfig,
    endpoint: EndpointConfig,
    prices: PricesConfig,
    generated: Generated,
    task: str,
) -> tuple[Journal, Ledger]:
    """Ask by the Batch API, from this process."""
    require_batches(endpoint)
    price = price_within_budget(prices, endpoint, run.budget_usd)
    ledger = Ledger(
        price, counter_for(prices, endpoint), run.budget_usd, batch_frac=prices.batch_frac
    )
    ledger.lost_usd = generated.lost_usd
    folder = journal_folder(run, endpoint)
    journal = Journal(folder)
    todo = _open_places(items, journal, ledger)
    if todo or has_batches(Path(run.output_dir)):
        journal.require_writable()
        import llama_gpt4_data.batch_run as batches  # slow, as the client is

        job = batches.BatchJob(
            task=task,
            items=items,
            places=todo,
            journal=journal,
            journal_dir=folder.resolve(),
            ledger=ledger,
            run=run,
            endpoint=endpoint,
        )
        outcome = batches.ask_in_batches(job)
        generated.is_interrupted, generated.n_batches = outcome.is_interrupted, outcome.n_batches
        _add(generated, outcome, run)
    return journal, ledger


def lost_before(output_dir: Path) -> float:
    """Dollars that earlier starts may have lost; no journal knows of an answer that never came."""
    path = output_dir / "report.json"
    try:
        report = json.loads(path.read_bytes())
        return float(report["lost_usd_at_most"])
    except FileNotFoundError:
        return 0.0
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{path} is no report of this program: move the file away") from None


def journal_folder(run: AskingConfig, endpoint: EndpointConfig) -> Path:
    """A folder a model, so that no run reads the replies of all others."""
    name = "".join(c if c.isalnum() or c in "-._" else "_" for c in endpoint.model)
    return Path(run.journal_dir).expanduser() / name


def raise_file_limit(in_flight: int) -> None:
    """Let this process and its workers have a connection for each request in flight."""
    needed = in_flight + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise InputError(
            f"in_flight={in_flight} needs {needed} open files, and this system allows {hard}: "
            f"lower it to {max(1, hard - SPARE_FILES)}, or raise `ulimit -Hn`"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class Worker:
    """A process that asks for one share of the replies."""

    def __init__(self, share: Share, journal: Journal) -> None:
        self.meter = FORK.RawArray("d", 3)
        """Finished items, failed ones, dollars."""
        self._report, theirs = FORK.Pipe(duplex=False)
        self._process = FORK.Process(target=run_worker, args=(share, journal, self.meter, theirs))
        self._process.start()
        theirs.close()

    def has_ended(self, within_seconds: float) -> bool:
        """Whether it has said how it ended, or can no longer."""
        return self._report.poll(within_seconds)

    def terminate(self) -> None:
        self._process.terminate()

    def outcome(self) -> Outcome:
        try:
            outcome: Outcome = self._report.recv()
        except EOFError:
            outcome = Outcome(trouble="a worker process was killed; the same line goes on")
        self._process.join()
        return outcome


def _open_places(items: Sequence[Item], journal: Journal, ledger: Ledger) -> list[int]:
    """Places of the items that still need a reply; `ledger` is charged for the replies there."""
    places = []
    for place, item in enumerate(items):
        replies, request = replies_to(item, journal)
        for n, reply in enumerate(replies):
            asked = item.request(replies[:n])
            assert asked is not None
            ledger.add(asked, reply)
        if request is not None:
            places.append(place)
    return places


def _wait(workers: Sequence[Worker], n_items: int, n_known: int, ledger: Ledger) -> bool:
    """Show progress until all workers have ended; whether a signal asked them to."""
    from tqdm import tqdm

    received = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        told = "when what is in flight has ended; once more ends that, too"
        told = told if len(received) == 1 else "at once"
        print(f"\nstopping {told}", file=sys.stderr, flush=True)
        for worker in workers:
            worker.terminate()

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        pace = 0.5 if sys.stderr.isatty() else 10.0  # each is a line in a log
        with tqdm(total=n_items, initial=n_known, unit="item", mininterval=pace) as bar:
            running = list(workers)
            while running:
                running = [worker for worker in running if not worker.has_ended(SHOW_SECONDS)]
                done, failed, usd = (sum(w.meter[n] for w in workers) for n in range(3))
                bar.update(n_known + int(done) - bar.n)
                shown = [f"{int(failed)} failed"] if failed else []
                if ledger.has_price:
                    shown.insert(0, f"${ledger.spent_usd + usd:.2f}")
                bar.set_postfix_str(", ".join(shown), refresh=False)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return bool(received)


def _add(generated: Generated, outcome: Outcome, run: AskingConfig) -> None:
    if outcome.bug is not None:
        raise RuntimeError(f"a worker failed:\n{outcome.bug}")
    generated.failures |= outcome.failures
    generated.retries += outcome.retries
    generated.limits = outcome.limits or generated.limits
    generated.lost_usd += outcome.lost_usd
    generated.trouble = generated.trouble or outcome.trouble
