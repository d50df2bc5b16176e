"""What an endpoint allows: read from headers, kept by buckets, paused when it asks for it."""

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest
from llama_gpt4_data import limits
from llama_gpt4_data.limits import Bucket, Limiter, Stated, stated


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time that stands still until it is moved."""
    now = [1000.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "1m2.5s"}, 62.5),
        ({"retry-after": "120ms"}, 0.12),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "inf"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert stated(headers).retry_after_seconds == seconds


def test_a_date_to_wait_for() -> None:
    headers = {"retry-after": formatdate(time.time() + 30, usegmt=True)}
    waited = stated(headers).retry_after_seconds
    assert waited is not None and 28 <= waited <= 30
    assert stated({"retry-after": formatdate(0, usegmt=True)}).retry_after_seconds == 0


def test_limits_are_read_and_nonsense_is_not() -> None:
    headers = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-limit-tokens": "40000.0",
        "x-ratelimit-remaining-tokens": "-1",
    }
    assert stated(headers) == Stated(600, 599, 40000, None, None)
    assert stated({"x-ratelimit-limit-requests": "many"}) == Stated()


def test_a_bucket_is_full_at_first_and_fills_evenly(clock: Callable[[float], None]) -> None:
    bucket = Bucket(60)
    for _ in range(60):
        assert bucket.wait_seconds(1) == 0
        bucket.take(1)
    assert bucket.wait_seconds(1) == pytest.approx(1.0)
    assert bucket.wait_seconds(10) == pytest.approx(10.0)
    clock(2.5)
    assert bucket.wait_seconds(2) == 0 and bucket.wait_seconds(3) == pytest.approx(0.5)
    clock(1000)
    assert bucket.wait_seconds(60) == 0 and bucket.wait_seconds(61) == 0, "never more than full"


def test_the_endpoints_figure_only_ever_lowers_ours(clock: Callable[[float], None]) -> None:
    bucket = Bucket(60)
    bucket.lower_to(1)
    assert bucket.wait_seconds(2) == pytest.approx(1.0)
    bucket.lower_to(50)
    assert bucket.wait_seconds(2) == pytest.approx(1.0)


LOOP = asyncio.new_event_loop()
"""One for all calls of `admitted`: a limiter lives in the loop in which it first waits."""


def admitted(limiter: Limiter, n: int, tokens: int = 0) -> int:
    """How many of `n` requests are let through at this moment."""

    async def ask() -> int:
        tasks = [asyncio.create_task(limiter.admit(tokens)) for _ in range(n)]
        for _ in range(3 * n + 3):
            await asyncio.sleep(0)
        done = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not any(task.exception() for task in done)
        return len(done)

    return LOOP.run_until_complete(ask())


def test_what_is_configured_counts_more_than_what_is_stated(clock: Callable[[float], None]) -> None:
    limiter = Limiter(100, 5, None)
    limiter.saw(Stated(requests_per_minute=600, requests_left=599))
    assert admitted(limiter, 20) == 5
    assert limiter.described() == "5 requests a minute (configured)"


def test_stated_limits_are_kept(clock: Callable[[float], None]) -> None:
    limiter = Limiter(100, None, None)
    assert limiter.described() == "none is configured or stated by the endpoint"
    assert not limiter.counts_tokens
    limiter.saw(Stated(600, 8, 10_000, 9_000, None))
    assert limiter.counts_tokens
    assert admitted(limiter, 20, tokens=10) == 8
    assert "600 requests a minute (as the endpoint states)" in limiter.described()


def test_tokens_are_limited_like_requests(clock: Callable[[float], None]) -> None:
    limiter = Limiter(100, None, 1000)
    assert admitted(limiter, 20, tokens=300) == 3


def test_a_worker_keeps_to_its_share(clock: Callable[[float], None]) -> None:
    limiter = Limiter(100, None, None, frac=0.5)
    limiter.saw(Stated(requests_per_minute=10))
    assert admitted(limiter, 20) == 5


def test_nobody_asks_in_a_pause_that_the_endpoint_asked_for(clock: Callable[[float], None]) -> None:
    limiter = Limiter(100, None, None)
    limiter.pause(3.0)
    limiter.pause(1.0)
    assert admitted(limiter, 2) == 0
    clock(2.9)
    assert admitted(limiter, 2) == 0
    clock(0.2)
    assert admitted(limiter, 2) == 2


def test_a_burst_of_refusals_is_one_pause(clock: Callable[[float], None]) -> None:
    limiter = Limiter(100, None, None)
    for _ in range(50):
        limiter.succeeded()
    limiter.pause(None)
    first = limiter.open_at
    for _ in range(30):
        limiter.pause(None)
    assert limiter.open_at == first
    assert admitted(limiter, 100) == 0
    clock(1.0)
    assert admitted(limiter, 100) == 100, "fewer refusals than replies: nothing else changes"


def test_a_few_refusals_among_many_requests_make_nobody_else_wait(
    clock: Callable[[float], None],
) -> None:
    limiter = Limiter(256, None, None)
    assert admitted(limiter, 200) == 200
    for _ in range(20):
        limiter.pause(None)
    assert admitted(limiter, 10) == 10
    for _ in range(20):
        limiter.pause(None)
    assert admitted(limiter, 10) == 0, "a sixth of all is too many"


def test_an_endpoint_that_refuses_more_than_it_answers_is_asked_less(
    clock: Callable[[float], None],
) -> None:
    limiter = Limiter(64, None, None)
    pauses = []
    for _ in range(4):
        now = limits.time.monotonic()
        for _ in range(4):
            limiter.succeeded()
        for _ in range(40):
            limiter.pause(None)
        pauses.append(limiter.open_at - now)
        clock(100.0)
    assert pauses[3] > 2 * pauses[1] > 0
    few = admitted(limiter, 64)
    assert 0 < few < 8
    for _ in range(few):
        limiter.ended()
    for _ in range(400):
        limiter.succeeded()
    assert admitted(limiter, 64) == 64, "replies open it again"


def test_closing_lets_everybody_through_at_once() -> None:
    async def close_while_waiting() -> None:
        limiter = Limiter(1, 1, None)
        await limiter.admit(0)
        limiter.pause(600.0)
        waiting = [asyncio.create_task(limiter.admit(0)) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        limiter.close()
        await asyncio.wait_for(asyncio.gather(*waiting), 5)

    asyncio.run(close_while_waiting())
