"""A request's key is the same for the same request, and for no other."""

import json
from typing import Any

import pytest
from llama_gpt4_data.requests import Request, reply_in

from .endpoints import request


def test_the_key_is_of_all_that_decides_the_answer() -> None:
    first = request("Why?")
    body = dict(reversed(first.body.items()))
    assert Request(first.endpoint, body).key == first.key, "the order of keys decides nothing"
    others = [
        request("Why not?"),
        request("Why?", temperature=0.0),
        request("Why?", endpoint="http://127.0.0.1:2/v1"),
        Request(first.endpoint, first.body, sample=1),
        Request(first.endpoint, first.body, again=1),
    ]
    assert len({first.key, *(other.key for other in others)}) == 6


@pytest.mark.parametrize(
    "body, longest",
    [({}, 512), ({"max_completion_tokens": 32}, 32), ({"max_tokens": 8}, 8)],
)
def test_the_longest_answer_goes_by_either_name(body: dict[str, int], longest: int) -> None:
    assert request(**body).max_tokens == longest


def test_the_prompts_hash_is_of_the_messages_alone() -> None:
    assert request(temperature=0.0).prompt_hash == request(temperature=1.0).prompt_hash
    assert request("a").prompt_hash != request("b").prompt_hash


def test_half_an_emoji_at_the_end_of_a_cut_answer_is_marked() -> None:
    message = json.loads('{"content": "Good \\ud83d"}')
    answer = {"choices": [{"message": message, "finish_reason": "length"}]}
    read = reply_in(answer, key="k", model="m", request_id=None)
    assert read is not None and read.text == "Good \ufffd"


@pytest.mark.parametrize(
    "answer", [None, [], {"choices": []}, {"choices": [{"message": {"content": ["a"]}}]}]
)
def test_a_body_without_an_answer_is_no_reply(answer: Any) -> None:
    assert reply_in(answer, key="k", model="m", request_id=None) is None
