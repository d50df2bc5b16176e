"""Tokens to come are told from a prior, or from a pilot and then within its error."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from llama_gpt4_data.forecast import (
    SMALLEST_PILOT,
    Forecast,
    Survey,
    TokenRange,
    forecast,
    pilot_within,
    survey,
)
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.ledger import Ledger, Price
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.tokens import TokenCounter

from llama_gpt4.errors import InputError

from .endpoints import reply, request

COUNTER = TokenCounter("cl100k_base")
PRIOR = TokenRange(low=100, high=200)


@dataclass(frozen=True)
class Asked:
    question: str
    n_requests: int = 1

    def request(self, replies: Sequence[Reply]) -> Request | None:
        if len(replies) == self.n_requests:
            return None
        return request(self.question + " And then?" * len(replies))


def journal_of(folder: Path, replies: Sequence[Reply]) -> Journal:
    journal = Journal(folder)
    for known in replies:
        journal.append(known)
    journal.close()
    return Journal(folder)


def ledger() -> Ledger:
    return Ledger(Price(input_usd=30, output_usd=60), COUNTER, batch_frac=0.5)


def answered(item: Asked, n: int, tokens: int) -> list[Reply]:
    """The first `n` replies to `item`; the endpoint finds a tenth more tokens in its prompts."""
    replies: list[Reply] = []
    for _ in range(n):
        asked = item.request(replies)
        assert asked is not None
        charged = round(1.1 * COUNTER.prompt(asked))
        replies.append(reply(asked, prompt_tokens=charged, completion_tokens=tokens))
    return replies


def test_what_is_paid_is_told_from_what_is_open(tmp_path: Path) -> None:
    done, half, new = Asked("a", 2), Asked("b", 2), Asked("c")
    known = answered(done, 2, tokens=30) + answered(half, 1, tokens=5)
    seen = survey([done, half, new], journal_of(tmp_path, known), COUNTER, ledger())
    assert seen.n_paid == 3 and seen.paid_output == 65 and seen.outputs == [60]
    assert seen.open_inputs == [
        COUNTER.prompt(request("b And then?")),
        COUNTER.prompt(request("c")),
    ]
    assert seen.n_follow_ups == 1
    assert seen.follow_up_input == round(1.1 * COUNTER.prompt(request("a And then?")))
    assert seen.paid_input == pytest.approx(1.1 * seen.counted_input, rel=0.05)


def test_tokens_that_the_endpoint_does_not_count_are_counted_here(tmp_path: Path) -> None:
    known = reply(request("a"), "Because.", prompt_tokens=None, completion_tokens=None)
    seen = survey([Asked("a")], journal_of(tmp_path, [known]), COUNTER, ledger())
    assert (seen.paid_input, seen.paid_output) == (COUNTER.prompt(request("a")), 2)


def test_what_came_in_a_batch_cost_half(tmp_path: Path) -> None:
    known = [
        reply(request(question), prompt_tokens=100, completion_tokens=100, is_batch=question == "a")
        for question in "ab"
    ]
    book = ledger()
    survey([Asked("a"), Asked("b")], journal_of(tmp_path, known), COUNTER, book)
    assert book.spent_usd == pytest.approx(1.5 * 100 * (30 + 60) / 1e6)


def test_without_a_pilot_it_is_the_prior_but_never_more_than_the_longest_answer() -> None:
    seen = Survey(open_inputs=[10, 30])
    expected = Forecast(requests=2, input_tokens=40, output=TokenRange(low=200, high=400), pilot=())
    assert forecast(seen, PRIOR, None) == expected
    assert forecast(seen, PRIOR, 120).output == TokenRange(low=200, high=240)
    assert forecast(seen, PRIOR, 50).output == TokenRange(low=100, high=100)


def test_too_small_a_pilot_is_none() -> None:
    n = SMALLEST_PILOT - 1
    seen = Survey(open_inputs=[10], outputs=[7] * n, paid_input=10 * n, counted_input=10 * n)
    assert not forecast(seen, PRIOR, None).pilot


def test_rounds_that_are_not_known_yet_are_like_the_first() -> None:
    assert forecast(Survey(open_inputs=[10, 30]), PRIOR, None, n_unseen=4).input_tokens == 120
    assert forecast(Survey(open_inputs=[10, 30]), PRIOR, None, n_unseen=4).requests == 6


def test_a_pilot_tells_the_endpoints_own_count_and_how_often_an_item_asks() -> None:
    n = 100
    seen = Survey(
        n_paid=150,
        counted_input=1500,
        paid_input=1800,
        open_inputs=[10] * 300,
        outputs=[40, 60] * (n // 2),
        n_follow_ups=50,
        follow_up_input=600,
    )
    coming = forecast(seen, PRIOR, 512)
    assert coming.requests == 450
    assert coming.input_tokens == pytest.approx(3000 * 1.2 + 300 * 6)
    assert coming.output.middle == pytest.approx(300 * 50)
    assert coming.output.low < 300 * 50 < coming.output.high


def test_nothing_is_to_come_when_all_is_answered() -> None:
    seen = Survey(outputs=[40, 60] * 20, counted_input=9, paid_input=9)
    coming = forecast(seen, PRIOR, 512)
    assert coming.requests == coming.input_tokens == coming.output.high == 0


def test_the_range_holds_the_truth_about_as_often_as_it_says() -> None:
    chance = random.Random(0)
    n_held, n_trials = 0, 400
    for _ in range(n_trials):
        lengths = [round(chance.expovariate(1 / 150)) for _ in range(500)]
        seen = Survey(
            open_inputs=[1] * 400, outputs=lengths[:100], counted_input=100, paid_input=100
        )
        output = forecast(seen, PRIOR, None).output
        n_held += output.low <= sum(lengths[100:]) <= output.high
    assert 0.91 <= n_held / n_trials <= 0.98


def test_how_large_a_pilot_has_to_be() -> None:
    outputs = [50, 150] * 50  # a standard deviation of half the mean
    assert pilot_within(outputs, 0.1) == pytest.approx((1.96 * 0.5 / 0.1) ** 2, abs=2)
    assert pilot_within(outputs, 0.05) == pytest.approx(4 * pilot_within(outputs, 0.1), abs=4)


def test_a_range_has_its_ends_in_order() -> None:
    with pytest.raises(InputError, match="tokens: 3 to 2 is no range"):
        TokenRange(low=3, high=2)
