"""Requests cut into files of a batch, and what the lines that come back say."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_gpt4_data.batch_lines import cut, keys_of, request_line, result
from llama_gpt4_data.failures import RejectedError, TransientError, UnusableError
from llama_gpt4_data.requests import Reply, Request

from .endpoints import batch_config, request

ANSWER = {
    "model": "gpt-4-0613",
    "choices": [{"message": {"content": "Because."}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}


def line(
    status: Any = 200, body: Any = ANSWER, custom_id: str = "a", error: Any = None, **more: Any
) -> bytes:
    response = {"status_code": status, "request_id": "req_1", "body": body}
    said = {"custom_id": custom_id, "response": response, "error": error} | more
    return json.dumps(said).encode()


def shards(requests: list[Request], **limits: int) -> list[list[bytes]]:
    """All files that `requests` come to."""
    found, left = [], requests
    while left:
        lines = cut(left, batch_config(**limits), lambda request: 0.0, 0.0)
        assert lines, "nothing fits"
        found.append(lines)
        left = left[len(lines) :]
    return found


def test_a_request_is_the_line_that_the_service_asks_for() -> None:
    asked = request("为什么？\n")
    written = request_line(asked)
    assert written.endswith(b"\n") and written.count(b"\n") == 1
    assert "为什么".encode() in written, "Chinese takes three bytes a letter, not six"
    value = json.loads(written)
    assert value == {
        "custom_id": asked.key,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": asked.body,
    }


@settings(max_examples=60, deadline=None)
@given(
    questions=st.lists(st.text(max_size=60), unique=True, min_size=1, max_size=40),
    most_requests=st.integers(1, 12),
    most_lines_bytes=st.integers(0, 1500),
    shuffled=st.randoms(use_true_random=False),
)
def test_shards_are_a_partition_within_both_limits(
    questions: list[str], most_requests: int, most_lines_bytes: int, shuffled: Any
) -> None:
    requests = [request(question) for question in questions]
    longest = max(len(request_line(asked)) for asked in requests)
    most_bytes = longest + most_lines_bytes
    for _ in range(2):
        files = shards(requests, most_requests=most_requests, most_bytes=most_bytes)
        for lines, after in zip(files, [*files[1:], None], strict=True):
            n_bytes = sum(map(len, lines))
            assert len(lines) <= most_requests and n_bytes <= most_bytes
            is_full = len(lines) == most_requests
            assert after is None or is_full or n_bytes + len(after[0]) > most_bytes
        keys = [keys_of(b"".join(lines)) for lines in files]
        assert sum(map(len, keys)) == len(requests)
        assert set.union(*keys) == {asked.key for asked in requests}
        shuffled.shuffle(requests)


def test_limits_are_kept_to_the_request_and_to_the_byte() -> None:
    requests = [request(f"Question {n}?") for n in range(10)]
    size = len(request_line(requests[0]))
    assert [len(lines) for lines in shards(requests, most_requests=5)] == [5, 5]
    assert [len(lines) for lines in shards(requests, most_bytes=5 * size)] == [5, 5]
    assert [len(lines) for lines in shards(requests, most_bytes=5 * size - 1)] == [4, 4, 2]


def test_a_shard_never_costs_more_than_is_left() -> None:
    requests = [request(f"Question {n}?") for n in range(10)]
    assert len(cut(requests, batch_config(), lambda asked: 0.25, 1.0)) == 4
    assert len(cut(requests, batch_config(), lambda asked: 0.25, 0.99)) == 3
    assert not cut(requests, batch_config(), lambda asked: 0.25, 0.2)


def test_a_good_line_is_a_reply_of_a_batch() -> None:
    read = result(line(custom_id="k"), "gpt-4")
    assert read is not None
    key, reply = read
    assert isinstance(reply, Reply) and key == reply.key == "k"
    assert reply.text == "Because." and reply.finish_reason == "length" and reply.is_batch
    assert (reply.prompt_tokens, reply.completion_tokens) == (7, 3)
    assert reply.model == "gpt-4-0613" and reply.request_id == "req_1"


REFUSED = {"error": {"message": "No.", "type": "x", "code": "y"}}


@pytest.mark.parametrize(
    "bad, kind, reason",
    [
        (line(500, REFUSED), TransientError, "500: No."),
        (line(429, REFUSED), TransientError, "429: No."),
        (line(400, REFUSED), RejectedError, "400: No."),
        (line(400, "<html>"), RejectedError, "400: no message"),
        (line(404, REFUSED), UnusableError, "404: No."),
        (line(429, {"error": {"code": "insufficient_quota"}}), UnusableError, "quota is used up"),
        (line(400, ANSWER), RejectedError, "400: "),
        (line(error={"code": "odd"}), TransientError, "odd"),
        (line(body={"choices": []}), TransientError, "no answer in it"),
        (line(body=None), TransientError, "no answer in it"),
        (line("200"), TransientError, "no response"),
        (line(response=None, error={"code": "batch_expired"}), TransientError, "batch_expired"),
        (line(response=None), TransientError, "no response"),
    ],
)
def test_any_other_line_is_a_failure_with_its_reason(
    bad: bytes, kind: type[Exception], reason: str
) -> None:
    read = result(bad, "gpt-4")
    assert read is not None
    assert type(read[1]) is kind and reason in str(read[1])


@pytest.mark.parametrize(
    "cut_line",
    [line()[:-5], b"[]", b"7", b"{}", b"\xff\xfe", line(custom_id=3)],  # type: ignore[arg-type]
)
def test_a_line_that_names_no_request_says_nothing(cut_line: bytes) -> None:
    assert result(cut_line, "gpt-4") is None
