"""Runs by batches that are killed at any step go on with nothing paid or kept twice."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .batch_runs import Asked, asked, go, hit_after, journal_lines, kill_before_rename, unanswered
from .batch_server import BatchServer, running_batch_server


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with running_batch_server() as server:
        yield server


def require_whole(
    items: list[Asked], server: BatchServer, folder: Path, n_batches: int = 3
) -> None:
    """The run goes on, everything is answered, and nothing was paid or kept twice."""
    generated, journal = go(items, server, folder, most_requests=4)
    assert generated.trouble is None and not unanswered(items, journal)
    assert server.paid_twice == 0
    lines = journal_lines(folder)
    assert len(lines) == len({json.loads(line)["key"] for line in lines}) == 9
    inputs = [batch["input_file_id"] for batch in server.service.batches.values()]
    assert len(inputs) == len(set(inputs)) == n_batches
    assert not list((folder / "out" / "batches").iterdir())


def nine_requests(server: BatchServer) -> list[Asked]:
    """Two batches of four and two requests, and one of the three that follow from them."""
    return asked(server, 6, n_with_second=3)


@pytest.mark.parametrize(
    "call, nth",
    [
        ("upload", 1), ("upload", 2), ("create", 1), ("create", 2), ("retrieve", 1),
        ("retrieve", 5), ("content", 1), ("content", 2), ("upload", 3), ("create", 3),
        ("content", 3),
    ],
)  # fmt: skip
def test_killed_before_an_answer_arrives(
    server: BatchServer, tmp_path: Path, call: str, nth: int
) -> None:
    items = nine_requests(server)
    child = hit_after(server, call, nth)
    assert child.run(lambda: go(items, server, tmp_path, most_requests=4)) == -signal.SIGKILL
    require_whole(items, server, tmp_path)


@pytest.mark.parametrize("nth", range(1, 13))
def test_killed_before_something_is_on_the_disk(
    server: BatchServer, tmp_path: Path, nth: int
) -> None:
    """Three times a shard's file, its entry, its batch and its end; before the last all answers are
    there, and only the book does not know it."""
    items = nine_requests(server)
    code = kill_before_rename(nth, lambda: go(items, server, tmp_path, most_requests=4))
    assert code == -signal.SIGKILL
    require_whole(items, server, tmp_path)


def test_killed_between_two_answers(server: BatchServer, tmp_path: Path) -> None:
    """The journal has some of a batch, the last in part: what follows from those goes out at once,
    and the batch is read once more."""
    items = nine_requests(server)
    kill_before_rename(7, lambda: go(items, server, tmp_path, most_requests=4))
    [path] = tmp_path.rglob("journal/**/*.jsonl")
    content = path.read_bytes()
    assert content.count(b"\n") == 4
    path.write_bytes(content[: len(content) // 2])
    require_whole(items, server, tmp_path, n_batches=4)


def test_a_create_without_an_answer_is_looked_for_before_it_is_repeated(
    server: BatchServer, tmp_path: Path
) -> None:
    create = server.service.create

    def create_and_fail(asked: dict[str, Any]) -> dict[str, Any]:
        server.service.create = create  # type: ignore[method-assign]
        create(asked)
        server.service.server_errors = 1
        raise ConnectionAbortedError  # the handler's thread ends, and the connection with it

    server.service.create = create_and_fail  # type: ignore[method-assign]
    items = asked(server, 3)
    generated, journal = go(items, server, tmp_path)
    assert not unanswered(items, journal) and generated.trouble is None
    assert len(server.service.batches) == 1 and server.paid_twice == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_batches_to_the_service(tmp_path: Path, number: int) -> None:
    with running_batch_server(polls_in_progress=3) as server:
        items = asked(server, 3)

        def run() -> int:
            generated, _ = go(items, server, tmp_path)
            return 10 * generated.is_interrupted + generated.n_batches

        assert hit_after(server, "retrieve", 2, number).run(run) == 11
        assert not journal_lines(tmp_path)
        assert [batch["status"] for batch in server.service.batches.values()] == ["in_progress"]
        _, journal = go(items, server, tmp_path)
        assert not unanswered(items, journal) and len(server.service.batches) == 1
