"""What comes of a request to a real server: a reply, or one of three kinds of failure."""

import asyncio
from typing import Any

import openai
import pytest
from llama_gpt4_data.client import connect
from llama_gpt4_data.endpoint_config import chat_request
from llama_gpt4_data.failures import RejectedError, TransientError, UnusableError
from llama_gpt4_data.limits import Stated
from llama_gpt4_data.requests import Reply, Request

from .endpoints import endpoint_config, request
from .ports import free_port
from .teacher import Teacher
from .teacher_answers import answer


def send(base_url: str, question: str, key: str = "sk-test", **config: Any) -> tuple[Reply, Stated]:
    async def ask() -> tuple[Reply, Stated]:
        endpoint = endpoint_config(base_url, **config)
        async with connect(endpoint, key, in_flight=1) as client:
            return await client.send(request(question, endpoint.address))

    return asyncio.run(ask())


def test_a_reply_has_all_that_the_endpoint_said(teacher: Teacher) -> None:
    teacher.behaves(requests_per_minute=60, tokens_per_minute=100_000)
    reply, limits = send(teacher.base_url, "Why?")
    assert reply.text == answer("Why?") and reply.finish_reason == "stop"
    assert reply.key == request("Why?", teacher.base_url).key
    assert reply.model.startswith("gpt-4") and reply.request_id
    assert reply.prompt_tokens and reply.completion_tokens
    assert reply.time.endswith("+00:00")
    assert limits.requests_per_minute == 60 and limits.requests_left == 59


def test_the_body_is_what_the_official_client_sends(teacher: Teacher) -> None:
    """Its typed method is the reference: byte for byte the same request."""
    parameters = {"top_p": 0.9, "temperature": 0.5, "seed": 7, "max_tokens": 512, "stop": ["x"]}
    endpoint = endpoint_config(teacher.base_url, parameters=parameters)
    asked = chat_request(endpoint, [{"role": "user", "content": "说“为什么”? \u2028"}])

    async def by_its_method() -> None:
        async with openai.AsyncOpenAI(base_url=teacher.base_url, api_key="sk-test") as client:
            await client.chat.completions.create(**asked.body)  # type: ignore[call-overload]

    async def by_ours() -> None:
        async with connect(endpoint, "sk-test", in_flight=1) as client:
            await client.send(asked)

    asyncio.run(by_its_method())
    asyncio.run(by_ours())
    stats = teacher.stats()
    assert list(stats.attempts.values()) == [2], "the server tells bodies apart by their bytes"


@pytest.mark.parametrize(
    "fault", ["429", "429-bare", "500", "503", "drop", "half", "malformed", "no-choices"]
)
def test_what_may_pass(teacher: Teacher, fault: str) -> None:
    with pytest.raises(TransientError) as error:
        send(teacher.base_url, f"[[fault:{fault}]]")
    assert error.value.is_rate_limit == fault.startswith("429")
    assert error.value.is_paid == (fault in ("drop", "half", "malformed", "no-choices"))
    assert "\n" not in str(error.value)
    asks_for_a_pause = error.value.limits.retry_after_seconds is not None
    assert asks_for_a_pause == (fault == "429")


def test_an_answer_that_never_comes_is_given_up(teacher: Teacher) -> None:
    with pytest.raises(TransientError, match=r"no answer within 0\.2 s") as error:
        send(teacher.base_url, "[[fault:hang]]", timeout_seconds=0.2)
    assert error.value.is_paid


@pytest.mark.parametrize("fault", ["400", "400-context", "400-filter"])
def test_what_this_request_will_never_get(teacher: Teacher, fault: str) -> None:
    with pytest.raises(RejectedError, match="400: "):
        send(teacher.base_url, f"[[fault:{fault}]]")


@pytest.mark.parametrize("fault", ["401", "403", "404", "quota"])
def test_what_no_request_will_get(teacher: Teacher, fault: str) -> None:
    with pytest.raises(UnusableError):
        send(teacher.base_url, f"[[fault:{fault}]]")


def test_nobody_is_there() -> None:
    with pytest.raises(TransientError, match="cannot connect") as error:
        send(f"http://127.0.0.1:{free_port()}/v1", "Why?")
    assert not error.value.is_paid


def test_azure_is_asked_by_its_own_address(teacher: Teacher) -> None:
    azure = {"kind": "azure", "api_version": "2024-10-21", "model": "gpt-4"}
    reply, _ = send(teacher.url, "Why?", **azure)
    assert reply.text == answer("Why?")


def test_an_answer_to_another_question_is_told_from_its_own(teacher: Teacher) -> None:
    """Many at once over few connections: each reply belongs to its request."""

    async def ask_all() -> list[tuple[Request, Reply]]:
        asked = [request(f"Question {number}?", teacher.base_url) for number in range(60)]
        async with connect(endpoint_config(teacher.base_url), "sk-test", in_flight=7) as client:
            replies = await asyncio.gather(*(client.send(each) for each in asked))
        return [(each, reply) for each, (reply, _) in zip(asked, replies, strict=True)]

    for asked, reply in asyncio.run(ask_all()):
        assert reply.text == answer(asked.body["messages"][0]["content"])
        assert reply.key == asked.key
    assert teacher.stats().max_concurrent <= 7
