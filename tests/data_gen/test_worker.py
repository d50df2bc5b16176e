"""A worker process: it finds its work in the journal's gaps, and dies with its parent."""

import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

from llama_gpt4_data.generate import FORK
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.tokens import TokenCounter
from llama_gpt4_data.worker import Outcome, Share, replies_to, run_worker

from .endpoints import endpoint_config, reply
from .teacher import Teacher
from .test_generate import Asked, asked


def share(teacher: Teacher, items: list[Asked], places: list[int], **values: object) -> Share:
    endpoint = endpoint_config(teacher.base_url)
    return Share(
        items=items,
        places=places,
        frac=1.0,
        in_flight=4,
        endpoint=endpoint,
        api_key="sk-test",
        price=None,
        counter=TokenCounter("cl100k_base"),
        budget_usd=None,
    )


def outcome(work: Share, journal: Journal) -> tuple[Outcome, list[float]]:
    meter = FORK.RawArray("d", 3)
    report, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=run_worker, args=(work, journal, meter, theirs))
    process.start()
    theirs.close()
    told: Outcome = report.recv()
    process.join()
    return told, list(meter)


def test_it_does_its_places_and_no_others(teacher: Teacher, tmp_path: Path) -> None:
    items = asked(teacher, 6)
    told, meter = outcome(share(teacher, items, [1, 3]), Journal(tmp_path))
    journal = Journal(tmp_path)
    done = [place for place, item in enumerate(items) if replies_to(item, journal)[1] is None]
    assert done == [1, 3] and meter[:2] == [2.0, 0.0]
    assert told.trouble is None and told.bug is None
    assert told.limits == "none is configured or stated by the endpoint"


def test_a_bug_is_told_with_its_trace(teacher: Teacher, tmp_path: Path) -> None:
    broken = share(teacher, asked(teacher, 2), [5])
    told, _ = outcome(broken, Journal(tmp_path))
    assert told.bug is not None and "IndexError" in told.bug


def test_a_full_journal_is_trouble_and_no_bug(teacher: Teacher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told, _ = outcome(share(teacher, asked(teacher, 2), [0, 1]), Journal(tmp_path / "file" / "j"))
    assert told.bug is None and told.trouble is not None
    assert "journal_dir" in told.trouble and "the same line goes on" in told.trouble


def test_the_replies_of_an_item_are_found_in_their_order(tmp_path: Path) -> None:
    item = Asked("Why?", "http://127.0.0.1:1/v1", has_second=True)
    journal = Journal(tmp_path)
    first = item.request([])
    assert first is not None and replies_to(item, journal) == ([], first)
    journal.append(reply(first, "One."))
    replies, second = replies_to(item, journal)
    assert [each.text for each in replies] == ["One."] and second is not None
    journal.append(reply(second, "Two."))
    replies, rest = replies_to(item, journal)
    assert [each.text for each in replies] == ["One.", "Two."] and rest is None


def _parent(work: Share, journal: Journal, pid: Connection) -> None:
    pipe = FORK.Pipe(duplex=False)
    worker = FORK.Process(target=run_worker, args=(work, journal, FORK.RawArray("d", 3), pipe[1]))
    worker.start()
    pid.send(worker.pid)
    signal.pause()


def test_it_does_not_outlive_a_killed_parent(teacher: Teacher, tmp_path: Path) -> None:
    teacher.behaves(latency_seconds=30)
    mine, theirs = FORK.Pipe(duplex=False)
    work = share(teacher, asked(teacher, 2), [0, 1])
    parent = FORK.Process(target=_parent, args=(work, Journal(tmp_path), theirs))
    parent.start()
    worker_pid = mine.recv()
    while not teacher.stats().concurrent:  # in the middle of its first request
        time.sleep(0.02)
    parent.kill()
    parent.join()
    for _ in range(500):
        if not _runs(worker_pid):
            break
        time.sleep(0.01)
    assert not _runs(worker_pid)


def _runs(pid: int) -> bool:
    """Whether the process does anything still; where nobody reaps orphans, a dead one is listed."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
