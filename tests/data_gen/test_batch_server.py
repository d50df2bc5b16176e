"""The batch service comes to the ends that a client has to cope with, seen by the official one."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from . import teacher_answers
from .batch_server import TERMINAL, BatchServer, running_batch_server

Lines = list[dict[str, Any]]


def requests(n: int, mark: str = "") -> list[dict[str, Any]]:
    return [
        {
            "custom_id": f"id-{i}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "gpt-4",
                "messages": [{"role": "user", "content": f"Question {i} {mark}"}],
            },
        }
        for i in range(n)
    ]


def client(server: BatchServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0)


def submit(official: openai.OpenAI, lines: Lines) -> str:
    content = "\n".join(json.dumps(line) for line in lines).encode()
    file = official.files.create(file=("input.jsonl", content), purpose="batch")
    assert file.bytes == len(content)
    return official.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    ).id


def ended(
    server: BatchServer, lines: Lines, before_end: Callable[[str], Any] = lambda _: None
) -> tuple[Any, Lines, Lines]:
    """A batch with `lines` at its end, what its output file says and what its error file says."""
    with client(server) as official:
        batch_id = submit(official, lines)
        batch = official.batches.retrieve(batch_id)
        before_end(batch_id)
        while batch.status not in TERMINAL:
            batch = official.batches.retrieve(batch_id)
        contents = [
            official.files.content(file_id).text if file_id else ""
            for file_id in (batch.output_file_id, batch.error_file_id)
        ]
    output, errors = ([json.loads(line) for line in text.splitlines()] for text in contents)
    return batch, output, errors


def test_a_batch_is_answered_out_of_order() -> None:
    with running_batch_server(polls_in_progress=2) as server:
        batch, output, errors = ended(server, requests(20))
    assert batch.status == "completed" and not errors
    ids = [line["custom_id"] for line in output]
    assert ids != sorted(ids) and set(ids) == {f"id-{i}" for i in range(20)}
    for line in output:
        question = f"Question {line['custom_id'].removeprefix('id-')} "
        content = line["response"]["body"]["choices"][0]["message"]["content"]
        assert content == teacher_answers.answer(question)
    assert (batch.request_counts.total, batch.request_counts.completed) == (20, 20)


def test_lines_fail_in_either_file_or_are_missing() -> None:
    with running_batch_server(failed_in_output=0.2, failed_apart=0.2, missing=0.1) as server:
        batch, output, errors = ended(server, requests(200))
        bad = [line for line in output if line["response"]["status_code"] >= 400]
        assert 20 < len(bad) < 60 and 20 < len(errors) < 60
        assert 5 < 200 - len(output) - len(errors) < 40
        assert batch.request_counts.failed == len(bad) + len(errors)
        assert sum(server.service.teacher.journal.answers.values()) == len(output) - len(bad)


def test_an_expired_batch_has_half_of_its_output_and_says_what_is_left() -> None:
    with running_batch_server(ends=["expired"]) as server:
        batch, output, errors = ended(server, requests(10))
        assert batch.status == "expired" and len(output) == len(errors) == 5
        assert {line["error"]["code"] for line in errors} == {"batch_expired"}
        again, _, _ = ended(server, requests(10))
        assert again.status == "completed"
        assert server.paid_twice == 5, "whoever sends all of it again pays again"


def test_when_all_lines_fail_there_is_no_output_file() -> None:
    with running_batch_server() as server:
        batch, output, errors = ended(server, requests(3, "[[fault:400]]"))
    assert batch.status == "completed" and batch.output_file_id is None and not output
    assert [line["response"]["status_code"] for line in errors] == [400, 400, 400]


@pytest.mark.parametrize(
    "lines, code",
    [
        (requests(3) + requests(1), "duplicate_custom_id"),
        (requests(5), "too_many_requests"),
        ([{**requests(1)[0], "url": "/v1/embeddings"}], "invalid_url"),
        ([*requests(1), {**requests(2)[1], "body": {"model": "other"}}], "mismatched_model"),
    ],
)
def test_a_batch_with_a_fault_in_its_input_fails_whole(lines: Lines, code: str) -> None:
    with running_batch_server(most_requests=4) as server:
        batch, output, errors = ended(server, lines)
    assert batch.status == "failed" and not output + errors
    assert [error.code for error in batch.errors.data] == [code]


def test_a_batch_may_fail_with_nothing_done_and_be_cancelled_with_half_of_it_done() -> None:
    with running_batch_server(ends=["failed"]) as server, client(server) as official:
        batch, output, _ = ended(server, requests(4))
        assert batch.status == "failed" and batch.errors and not output
        batch, output, errors = ended(server, requests(4), before_end=official.batches.cancel)
        assert batch.status == "cancelled" and len(output) == 2 and not errors
        with pytest.raises(openai.ConflictError):
            official.batches.cancel(batch.id)


def test_a_file_that_is_too_large_is_refused() -> None:
    with running_batch_server(most_bytes=100) as server, client(server) as official:
        with pytest.raises(openai.APIStatusError) as refused:
            submit(official, requests(3))
        assert refused.value.status_code == 413


def test_the_service_can_be_out_of_order_for_a_while() -> None:
    with running_batch_server() as server, client(server) as official:
        server.service.server_errors = 1
        with pytest.raises(openai.InternalServerError):
            submit(official, requests(1))
        submit(official, requests(1))
