"""What batches.json knows after any end of the program."""

import dataclasses
import json
from pathlib import Path

import pytest
from llama_gpt4_data.batch_book import BatchBook, Entry, Origin, require_no_batches
from llama_gpt4_data.batch_lines import request_line

from llama_gpt4.errors import InputError

from .endpoints import batch_config, endpoint_config, request

ORIGIN = Origin(endpoint=endpoint_config(), journal_dir="/j/gpt-4", batch=batch_config())
ENTRY = Entry(name="0001", n_requests=2, input_file_id="file-1")
REQUESTS = [request("Why?"), request("为什么？")]


@pytest.fixture
def book(tmp_path: Path) -> BatchBook:
    """A book with one batch under way."""
    book = BatchBook(tmp_path, ORIGIN)
    assert book.next_name() == ENTRY.name
    book.write_shard(ENTRY.name, [request_line(asked) for asked in REQUESTS])
    book.put(ENTRY)
    return book


def test_a_batch_and_its_requests_are_found_again(book: BatchBook, tmp_path: Path) -> None:
    book.put(dataclasses.replace(ENTRY, batch_id="batch_1"))
    again = BatchBook.of(tmp_path)
    assert again.origin == ORIGIN
    [entry] = again.under_way
    assert entry.batch_id == "batch_1"
    assert again.keys(entry) == {asked.key for asked in REQUESTS}


def test_an_ended_batch_is_remembered_without_its_requests(book: BatchBook, tmp_path: Path) -> None:
    assert [path.name for path in (tmp_path / "batches").iterdir()] == ["0001.jsonl"]
    book.put(dataclasses.replace(ENTRY, batch_id="batch_1", ended="expired", n_replies=1))
    assert not book.under_way and not list((tmp_path / "batches").iterdir())
    assert BatchBook.of(tmp_path).next_name() == "0002", "names are used once"
    [kept] = json.loads((tmp_path / "batches.json").read_bytes())["batches"]
    assert (kept["batch_id"], kept["ended"], kept["n_replies"]) == ("batch_1", "expired", 1)


def test_batches_of_another_model_are_not_taken_for_ones_own(
    book: BatchBook, tmp_path: Path
) -> None:
    other = dataclasses.replace(ORIGIN, endpoint=endpoint_config(model="gpt-4o"))
    with pytest.raises(InputError, match=r"of gpt-4 at .* not of gpt-4o at .*batch-cancel"):
        BatchBook(tmp_path, other)
    book.put(dataclasses.replace(ENTRY, ended="cancelled"))
    assert not BatchBook(tmp_path, other).under_way


def test_nothing_is_asked_live_while_a_batch_may_answer_it(book: BatchBook, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has batches under way: go on with run.mode=batch"):
        require_no_batches(tmp_path)
    book.put(dataclasses.replace(ENTRY, ended="completed"))
    require_no_batches(tmp_path)
    require_no_batches(tmp_path / "elsewhere")


@pytest.mark.parametrize("damaged", ["", "[]", '{"batches": []}', '{"endpoint": {"a": 1}}'])
def test_a_damaged_book_is_named(book: BatchBook, tmp_path: Path, damaged: str) -> None:
    (tmp_path / "batches.json").write_text(damaged)
    with pytest.raises(InputError, match=r"batches.json is not as this program wrote it"):
        BatchBook(tmp_path, ORIGIN)


def test_a_lost_shard_is_named(book: BatchBook, tmp_path: Path) -> None:
    (tmp_path / "batches" / "0001.jsonl").unlink()
    with pytest.raises(InputError, match=r"0001\.jsonl cannot be read .*batch-cancel"):
        book.keys(ENTRY)


def test_without_a_book_there_is_nothing_to_end(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no batch was started from there"):
        BatchBook.of(tmp_path)
