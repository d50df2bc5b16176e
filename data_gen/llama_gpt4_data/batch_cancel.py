"""`llama-gpt4 data batch-cancel`: ends a run's batches, and keeps what they answered so far."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError
from llama_gpt4.help import wants_help
from llama_gpt4.program import hold, run_program
from llama_gpt4_data.batch_book import BatchBook
from llama_gpt4_data.endpoint_config import api_key
from llama_gpt4_data.failures import RejectedError, TransientError, UnusableError
from llama_gpt4_data.journal import Journal

if TYPE_CHECKING:
    from llama_gpt4_data.batch_watch import Ended

PROGRAM = "data_gen/batch_cancel"


@dataclass(kw_only=True)
class CancelledRun:
    output_dir: str
    """Of the run whose batches are to end; its batches.json says which and where they are."""


@dataclass(kw_only=True)
class BatchCancelConfig:
    """Which run's batches end."""

    run: CancelledRun


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help(PROGRAM, BatchCancelConfig, arguments):
        return 0
    return run_program("data batch-cancel", lambda report: run(arguments))


def run(arguments: Sequence[str]) -> None:
    """Cancel, wait until the endpoint has done so, and take in the answers that are paid."""
    output_dir = Path(compose(BatchCancelConfig, PROGRAM, arguments).run.output_dir)
    if not output_dir.is_dir():
        raise InputError(f"run.output_dir={output_dir} does not exist")
    lock = hold(output_dir, key="run.output_dir")
    book = BatchBook.of(output_dir)
    n_batches = len(book.under_way)
    try:
        all_ended = asyncio.run(_cancel(book))
    except (TransientError, RejectedError, UnusableError) as error:
        raise InputError(
            f"{book.origin.endpoint.address} does not cancel: {error}. Batches under way: "
            f"{len(book.under_way)}; the same line goes on, and if the endpoint has forgotten "
            f"them, move {output_dir}/batches.json away"
        ) from error
    os.close(lock)
    n_replies = sum(len(ended.replies) for ended in all_ended)
    n_open = sum(len(ended.failures) for ended in all_ended)
    print(
        f"batches ended: {n_batches}; answers kept: {n_replies}; requests without one: {n_open}",
        flush=True,
    )


async def _cancel(book: BatchBook) -> list["Ended"]:
    from llama_gpt4_data.batch_watch import BatchWatch
    from llama_gpt4_data.client import connect

    endpoint = book.origin.endpoint
    journal = Journal(Path(book.origin.journal_dir))
    all_ended = []
    try:
        async with connect(endpoint, api_key(endpoint), in_flight=1) as client:
            watch = BatchWatch(client, book, journal)
            await watch.cancel()
            while book.under_way:
                print(f"batches under way: {len(book.under_way)}", file=sys.stderr, flush=True)
                all_ended.append(await watch.next_ended(lambda: None))
    finally:
        journal.close()
    return all_ended
