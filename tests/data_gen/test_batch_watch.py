"""Batches on their way through a service: made once, looked at, taken in, ended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from llama_gpt4_data.batch_book import BatchBook, Entry, Origin
from llama_gpt4_data.batch_lines import request_line
from llama_gpt4_data.batch_watch import BatchWatch, Ended
from llama_gpt4_data.client import connect
from llama_gpt4_data.failures import RejectedError, TransientError, UnusableError
from llama_gpt4_data.journal import Journal

from .batch_server import BatchServer, running_batch_server
from .endpoints import batch_config, endpoint_config, request
from .ports import free_port

T = TypeVar("T")


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with running_batch_server() as server:
        yield server


def watching(
    base_url: str, folder: Path, what: Callable[[BatchWatch], Awaitable[T]], **endpoint: Any
) -> tuple[T, BatchBook]:
    """What `what` gives for a watch of the book in `folder`."""

    async def watch() -> tuple[T, BatchBook]:
        config = endpoint_config(base_url, **endpoint)
        book = BatchBook(
            folder,
            Origin(endpoint=config, journal_dir=str(folder / "journal"), batch=batch_config()),
        )
        async with connect(config, "sk-test", in_flight=1) as client:
            watch = BatchWatch(client, book, Journal(folder / "journal"))
            return await what(watch), book

    return asyncio.run(watch())


def lines(server: BatchServer, *questions: str) -> list[bytes]:
    return [request_line(request(question, server.base_url)) for question in questions]


def test_a_batch_is_handed_over_and_its_answers_come_in(
    server: BatchServer, tmp_path: Path
) -> None:
    looks = []

    async def see_through(watch: BatchWatch) -> Ended:
        await watch.hand_over(lines(server, "Why?", "[[fault:400]]"), {"task": "answer"})
        assert len(watch.keys) == 2
        return await watch.next_ended(lambda: looks.append(watch.seen["0001"]))

    ended, book = watching(server.base_url, tmp_path, see_through)
    assert [reply.text for reply in ended.replies] and len(ended.failures) == 1
    assert isinstance(next(iter(ended.failures.values())), RejectedError)
    assert looks[0] == (0, 0, 2) and looks[-1] == (1, 1, 2)
    assert not book.under_way and len(Journal(tmp_path / "journal")) == 1
    [batch] = server.service.batches.values()
    assert batch["metadata"] == {"task": "answer", "shard": "0001"}


def test_an_entry_without_a_batch_finds_the_one_that_was_made(
    server: BatchServer, tmp_path: Path
) -> None:
    """Of two that were uploaded, one was made before the program was killed."""

    async def begin(watch: BatchWatch) -> None:
        for name in ("0001", "0002"):
            content = watch._book.write_shard(name, lines(server, f"Question {name}"))
            file_id = await watch._client.upload(name, content)
            watch._book.put(Entry(name=name, n_requests=1, input_file_id=file_id))
        await watch._client.create_batch(watch.under_way[0].input_file_id, {})

    watching(server.base_url, tmp_path, begin)
    _, book = watching(server.base_url, tmp_path, lambda watch: watch.attach({"task": "answer"}))
    assert [entry.batch_id for entry in book.under_way] == list(server.service.batches)
    made, other = server.service.batches.values()
    assert not made["metadata"] and other["metadata"] == {"task": "answer", "shard": "0002"}


def test_calls_are_made_again_so_often_and_not_more(server: BatchServer, tmp_path: Path) -> None:
    async def hand_over(watch: BatchWatch) -> None:
        await watch.hand_over(lines(server, "Why?"), {})

    server.service.server_errors = 2
    with pytest.raises(TransientError, match="500: The server had an error"):
        watching(server.base_url, tmp_path, hand_over, attempts=2)
    assert server.service.server_errors == 0 and not server.service.files
    _, book = watching(server.base_url, tmp_path, hand_over)
    assert len(book.under_way) == len(server.service.files) == 1


def test_a_refused_batch_is_not_taken_for_one_under_way(
    server: BatchServer, tmp_path: Path
) -> None:
    async def hand_over(watch: BatchWatch) -> None:
        await watch.hand_over(lines(server, "Why?"), {})

    upload = server.service.upload

    # The service has lost the file by the time of the second call.
    def upload_and_lose(content: bytes, purpose: str) -> dict[str, Any]:
        file = upload(content, purpose)
        server.service.files.clear()
        return file

    server.service.upload = upload_and_lose  # type: ignore[method-assign]
    with pytest.raises(RejectedError, match="400: No such File object"):
        watching(server.base_url, tmp_path, hand_over)
    assert not BatchBook.of(tmp_path).under_way


def test_nobody_there_is_told_as_such(tmp_path: Path) -> None:
    async def upload(watch: BatchWatch) -> None:
        await watch.hand_over([b"{}\n"], {})

    with pytest.raises(TransientError, match="cannot connect"):
        watching(f"http://127.0.0.1:{free_port()}/v1", tmp_path, upload, attempts=100)


def test_what_a_cancelled_batch_had_answered_is_kept(tmp_path: Path) -> None:
    with running_batch_server(polls_in_progress=9) as server:

        async def begin_and_cancel(watch: BatchWatch) -> Ended:
            await watch.hand_over(lines(server, *"abcd"), {})
            await watch.cancel()
            await watch.cancel()  # again does no harm
            return await watch.next_ended(lambda: None)

        ended, book = watching(server.base_url, tmp_path, begin_and_cancel)
        assert ended.remote.status == "cancelled" and not book.under_way
        assert len(ended.replies) == len(ended.failures) == 2


def test_an_unknown_batch_is_no_passing_fault(server: BatchServer) -> None:
    async def look() -> None:
        async with connect(endpoint_config(server.base_url), "sk-test", in_flight=1) as client:
            await client.batch("batch_0")

    with pytest.raises(UnusableError, match="404: No such object: batch_0"):
        asyncio.run(look())
