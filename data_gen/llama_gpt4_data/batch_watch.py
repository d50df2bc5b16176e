"""Batches under way: handed over, looked at, their answers brought into the journal.

The order of things is what makes every end of this program a harmless one:

1. The shard's file is on the disk, then its input is uploaded, then the entry with the input's id
   is in the book, and only then is the batch made. Who finds an entry without a batch looks for a
   batch of that input before another one is made.
2. Answers are in the journal, on the disk, before the entry says that its batch has ended. Who
   finds an ended batch that the book takes for one under way reads its answers once more, and
   those that the journal has are not new.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import TypeVar

from llama_gpt4_data.batch_book import BatchBook, Entry
from llama_gpt4_data.batch_lines import Failure, keys_of, result
from llama_gpt4_data.client import Client, RemoteBatch
from llama_gpt4_data.failures import RejectedError, TransientError, UnusableError
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.limits import Stated
from llama_gpt4_data.pool import PROBE_ATTEMPTS, backoff_seconds
from llama_gpt4_data.requests import Reply

T = TypeVar("T")


@dataclass
class Ended:
    """What came of a batch."""

    remote: RemoteBatch
    replies: list[Reply] = field(default_factory=list)
    """That the journal did not have."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """Of the requests without a reply, by their keys."""


class BatchWatch:
    """The batches of one book."""

    def __init__(self, client: Client, book: BatchBook, journal: Journal) -> None:
        self._client, self._book, self._journal = client, book, journal
        self._endpoint, self._batch = book.origin.endpoint, book.origin.batch
        self._keys = {entry.name: book.keys(entry) for entry in book.under_way}
        self._poll_seconds = self._batch.poll_seconds
        self._has_answered = False
        self.seen: dict[str, tuple[int, int, int]] = {}
        """Completed, failed and all requests of each batch, when it was looked at last."""
        self.retries: Counter[str] = Counter()
        """Reasons of calls that had to be made again."""

    @property
    def under_way(self) -> list[Entry]:
        return self._book.under_way

    @property
    def keys(self) -> set[str]:
        """Of all requests under way."""
        return {key for entry in self.under_way for key in self._keys[entry.name]}

    async def hand_over(self, lines: Sequence[bytes], metadata: Mapping[str, str]) -> None:
        """Have a batch made of `lines`."""
        name = self._book.next_name()
        content = self._book.write_shard(name, lines)
        file_id = await self._insist(partial(self._client.upload, f"{name}.jsonl", content))
        entry = self._book.put(Entry(name=name, n_requests=len(lines), input_file_id=file_id))
        self._keys[name] = keys_of(content)
        await self._make(entry, {**metadata, "shard": name})

    async def attach(self, metadata: Mapping[str, str]) -> None:
        """Find the batches of entries that have none, or make them."""
        for entry in self.under_way:
            if entry.batch_id is None:
                await self._make(entry, {**metadata, "shard": entry.name}, perhaps_made=True)

    async def cancel(self) -> None:
        """Ask for the end of all batches; what they have answered until then is paid."""
        for entry in self.under_way:
            batch_id = entry.batch_id or await self._found(entry)
            if batch_id is None:
                self._book.put(replace(entry, ended="never made", n_replies=0))
                continue
            self._book.put(replace(entry, batch_id=batch_id))
            await self._insist(partial(self._cancel, batch_id))

    async def next_ended(self, on_look: Callable[[], None]) -> Ended:
        """Look at the batches until one has ended, and keep its answers."""
        while True:
            for entry in self.under_way:
                assert entry.batch_id is not None
                remote = await self._insist(partial(self._client.batch, entry.batch_id))
                n_seen = (remote.n_completed, remote.n_failed, entry.n_requests)
                self.seen[entry.name] = n_seen
                on_look()
                if remote.has_ended:
                    return await self._collect(entry, remote)
            await asyncio.sleep(self._poll_seconds)
            longer = self._poll_seconds * 1.5
            self._poll_seconds = min(longer, self._batch.longest_poll_seconds)

    async def _cancel(self, batch_id: str) -> None:
        remote = await self._client.batch(batch_id)
        if not remote.has_ended and remote.status != "cancelling":
            await self._client.cancel_batch(batch_id)

    async def _make(
        self, entry: Entry, metadata: Mapping[str, str], *, perhaps_made: bool = False
    ) -> None:
        async def find_or_make() -> RemoteBatch:
            nonlocal perhaps_made
            found = await self._client.find_batch(entry.input_file_id) if perhaps_made else None
            if found is not None:
                return found
            perhaps_made = True  # unless an answer comes that says no
            try:
                return await self._client.create_batch(entry.input_file_id, metadata)
            except (RejectedError, UnusableError):
                self._book.put(replace(entry, ended="refused", n_replies=0))
                raise

        remote = await self._insist(find_or_make)
        self._book.put(replace(entry, batch_id=remote.id))

    async def _found(self, entry: Entry) -> str | None:
        found = await self._insist(partial(self._client.find_batch, entry.input_file_id))
        return None if found is None else found.id

    async def _collect(self, entry: Entry, remote: RemoteBatch) -> Ended:
        ended = Ended(remote)
        keys = self._keys[entry.name]
        for file_id in remote.file_ids:
            content = await self._insist(partial(self._client.content, file_id))
            for line in content.split(b"\n"):
                self._take(line, keys, ended)
        self._journal.sync()
        for key in keys:
            if key in self._journal:
                ended.failures.pop(key, None)
            elif key not in ended.failures:
                ended.failures[key] = TransientError("no line in the batch's files", Stated())
        n_replies = len(keys) - len(ended.failures)
        self._book.put(replace(entry, ended=remote.status, n_replies=n_replies))
        del self._keys[entry.name]
        if ended.replies:
            self._poll_seconds = self._batch.poll_seconds
        return ended

    def _take(self, line: bytes, keys: set[str], ended: Ended) -> None:
        said = result(line, self._endpoint.model) if line.strip() else None
        if said is None or said[0] not in keys or said[0] in self._journal:
            return
        key, outcome = said
        if isinstance(outcome, Reply):
            self._journal.append(outcome)
            ended.replies.append(outcome)
        else:
            ended.failures[key] = outcome

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call` gives, made again while its failure may pass."""
        for attempts in count(1):
            try:
                given = await call()
                self._has_answered = True
                return given
            except TransientError as error:
                most = self._endpoint.attempts
                if attempts >= (most if self._has_answered else min(most, PROBE_ATTEMPTS)):
                    raise
                self.retries[str(error)] += 1
                asked_seconds = error.limits.retry_after_seconds or 0.0
                await asyncio.sleep(max(backoff_seconds(attempts), asked_seconds))
        raise AssertionError
