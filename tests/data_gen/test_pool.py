"""Requests on their way to replies: the first alone, retries, one end for all that cannot go on."""

import asyncio
from collections.abc import Iterator

import pytest
from llama_gpt4_data import pool as pool_module
from llama_gpt4_data.client import connect
from llama_gpt4_data.failures import UnusableError
from llama_gpt4_data.ledger import Ledger
from llama_gpt4_data.limits import Limiter
from llama_gpt4_data.pool import Pool, Work
from llama_gpt4_data.requests import Reply
from llama_gpt4_data.tokens import TokenCounter

from .endpoints import endpoint_config, request
from .teacher import Teacher
from .teacher_answers import answer


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "FIRST_WAIT_SECONDS", 0.01)


class Run:
    """A pool that has worked through questions, and what it said about each."""

    def __init__(
        self, teacher: Teacher, questions: list[str], *, in_flight: int = 8, attempts: int = 4
    ) -> None:
        self.replies: dict[int, list[Reply]] = {}
        self.failures: dict[int, str] = {}
        self._endpoint = endpoint_config(teacher.base_url, timeout_seconds=2.0)
        self._questions = questions
        self._in_flight, self._attempts = in_flight, attempts
        self.n_taken = 0
        asyncio.run(self._run())

    def work(self, item: int, question: str) -> Work:
        return Work(item, request(question, self._endpoint.address))

    def on_reply(self, work: Work, reply: Reply) -> Work | None:
        self.replies.setdefault(work.item, []).append(reply)
        return None

    def on_failure(self, work: Work, reason: str) -> None:
        assert work.item not in self.failures
        self.failures[work.item] = reason

    def _source(self) -> Iterator[Work]:
        for item, question in enumerate(self._questions):
            self.n_taken += 1
            yield self.work(item, question)

    async def _run(self) -> None:
        counter = TokenCounter("cl100k_base")
        async with connect(self._endpoint, "sk-test", self._in_flight) as client:
            self.pool = Pool(
                client,
                Limiter(self._in_flight, None, None),
                Ledger(None, counter),
                counter,
                in_flight=self._in_flight,
                attempts=self._attempts,
            )
            await self.pool.run(self._source(), self.on_reply, self.on_failure)


def questions(n: int, fault: str = "") -> list[str]:
    return [f"Question {number}? {fault}" for number in range(n)]


def test_every_question_gets_its_answer_once(teacher: Teacher) -> None:
    teacher.behaves(latency_seconds=0.01)
    run = Run(teacher, questions(50))
    assert {item: [r.text for r in replies] for item, replies in run.replies.items()} == {
        item: [answer(question)] for item, question in enumerate(questions(50))
    }
    assert not run.failures and run.pool.trouble is None
    assert teacher.stats().requests == 50
    assert 2 <= teacher.stats().max_concurrent <= 8


def test_nothing_is_asked_of_nobody(teacher: Teacher) -> None:
    run = Run(teacher, [])
    assert not run.replies and teacher.stats().requests == 0


def test_failures_are_tried_again_and_counted(teacher: Teacher) -> None:
    run = Run(teacher, [*questions(6), *questions(6, "[[fault:500*2]]")])
    assert len(run.replies) == 12 and not run.failures
    assert sum(run.pool.retries.values()) == 12
    assert all(reason.startswith("500: ") for reason in run.pool.retries)


def test_one_that_keeps_failing_fails_alone_and_with_its_reason(teacher: Teacher) -> None:
    run = Run(teacher, ["Why?", "[[fault:503]]", "[[fault:400]] bad", "How?"])
    assert sorted(run.replies) == [0, 3]
    assert run.failures[1].startswith("503: ") and run.failures[1].endswith("(4 attempts)")
    assert run.failures[2].startswith("400: ") and "attempts" not in run.failures[2]
    attempts = sorted(teacher.stats().attempts.values())
    assert attempts == [1, 1, 1, 4], "what can never succeed is asked once"
    assert run.pool.trouble is None


def test_the_first_request_goes_alone(teacher: Teacher) -> None:
    run = Run(teacher, questions(100, "[[fault:401]]"))
    assert teacher.stats().requests == 1, "a wrong key costs one request, not a hundred"
    assert isinstance(run.pool.trouble, UnusableError) and "401" in str(run.pool.trouble)
    assert not run.failures, "they were never asked"


def test_an_endpoint_that_never_answers_is_given_up_after_its_first_request(
    teacher: Teacher,
) -> None:
    run = Run(teacher, questions(100, "[[fault:500]]"), attempts=9)
    assert teacher.stats().requests == pool_module.PROBE_ATTEMPTS
    assert isinstance(run.pool.trouble, UnusableError) and not run.failures


def test_money_that_runs_out_ends_the_asking(teacher: Teacher) -> None:
    teacher.behaves(latency_seconds=0.02)
    asked = [*questions(20), "[[fault:quota]]", *(f"Later {n}?" for n in range(200))]
    run = Run(teacher, asked, in_flight=4)
    assert isinstance(run.pool.trouble, UnusableError)
    assert run.n_taken < 60, "what was in flight ends, and no more is taken"
    assert len(run.replies) + 1 >= run.n_taken - 4
    assert teacher.stats().kinds["quota"] == 1


def test_an_endpoint_that_breaks_down_is_not_asked_for_ever(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "FAILED_IN_A_ROW", 10)
    run = Run(teacher, [*questions(5), *questions(500, "[[fault:400]]")])
    assert "10 requests in a row failed: 400: " in str(run.pool.trouble)
    assert 10 <= len(run.failures) < 30


def test_what_follows_from_a_reply_is_asked_before_what_is_new(teacher: Teacher) -> None:
    order = []

    class WithMore(Run):
        def on_reply(self, work: Work, reply: Reply) -> Work | None:
            super().on_reply(work, reply)
            question = work.request.body["messages"][0]["content"]
            order.append(question)
            return None if question.endswith("?") else self.work(work.item, f"{question} And then?")

    run = WithMore(teacher, ["a", "b", "c"], in_flight=1)
    assert order == ["a", "a And then?", "b", "b And then?", "c", "c And then?"]
    assert {item: len(replies) for item, replies in run.replies.items()} == {0: 2, 1: 2, 2: 2}


def test_stopping_lets_what_is_in_flight_end(teacher: Teacher) -> None:
    teacher.behaves(latency_seconds=0.05)

    class Stopped(Run):
        def on_reply(self, work: Work, reply: Reply) -> Work | None:
            super().on_reply(work, reply)
            if len(self.replies) == 10:
                self.pool.stop()
            return None

    run = Stopped(teacher, questions(200), in_flight=8)
    assert 10 <= len(run.replies) <= 18
    assert teacher.stats().answers.keys() == teacher.stats().attempts.keys()
    assert teacher.stats().requests == len(run.replies), "nothing that was paid for is lost"
