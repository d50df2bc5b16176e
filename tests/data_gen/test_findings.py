"""What is wrong with an answer, and the request that may mend it."""

import pytest
from llama_gpt4_data.findings import (
    ScorePolicies,
    asked_again,
    asked_longer,
    continued,
    reply_findings,
)

from llama_gpt4.errors import InputError

from .endpoints import policies, reply, request


@pytest.mark.parametrize(
    "finish_reason, found",
    [("stop", []), ("length", ["truncated"]), ("content_filter", ["filtered"])],
)
def test_what_the_endpoint_says(finish_reason: str, found: list[str]) -> None:
    assert reply_findings(reply(request(), finish_reason=finish_reason)) == found


def test_asking_again_is_another_request_of_the_same_body() -> None:
    first = request()
    again = asked_again(first)
    assert again.body == first.body and again.key != first.key


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens"])
def test_a_longer_answer_is_up_to_twice_as_long(key: str) -> None:
    first = request(**{"max_tokens": 64, key: 64})
    assert asked_longer(first).max_tokens == 128
    assert first.max_tokens == 64


def test_the_rest_is_asked_for_after_what_there_is() -> None:
    first = request("Count.")
    messages = continued(first, [reply(first, "1 2")], "en").body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == "1 2"
    assert first.body["messages"] == [{"role": "user", "content": "Count."}]


def test_only_a_cut_answer_can_be_continued() -> None:
    assert policies(truncated="continue").of("truncated") == "continue"
    with pytest.raises(
        InputError, match=r"policy\.refusal=continue is not one of keep, drop, retry$"
    ):
        policies(refusal="continue")
    with pytest.raises(InputError, match=r"policy\.empty=keep is not one of drop, retry$"):
        policies(empty="keep")


def test_a_score_that_cannot_be_read_is_never_kept() -> None:
    policy = ScorePolicies(unreadable="drop", out_of_range="retry")
    assert [policy.of(f) for f in ("unreadable", "out_of_range", "truncated", "filtered")] == [
        "drop", "retry", "keep", "keep"
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"policy\.unreadable=keep is not one of drop, retry$"):
        ScorePolicies(unreadable="keep", out_of_range="keep")
