"""No budget is ever passed, whatever is under way, lost or answered at once."""

import asyncio
import random

import pytest
from llama_gpt4_data.ledger import BudgetReachedError, Ledger, Price
from llama_gpt4_data.tokens import TokenCounter

from llama_gpt4.errors import InputError

from .endpoints import reply, request

COUNTER = TokenCounter("cl100k_base")
PRICE = Price(input_usd=10.0, output_usd=1_000.0)
REQUEST = request("Why?")
LONGEST = REQUEST.max_tokens or 0
MOST_USD = PRICE.of(COUNTER.prompt(REQUEST), LONGEST)
"""What `REQUEST` costs if its answer is as long as it may be."""


def ledger(budget_usd: float | None) -> Ledger:
    return Ledger(PRICE, COUNTER, budget_usd)


def test_a_price_is_for_a_million_tokens() -> None:
    assert Price(input_usd=30, output_usd=60).of(1_000_000, 500_000) == 60
    with pytest.raises(InputError, match="price: output_usd=-1 is negative"):
        Price(input_usd=30, output_usd=-1)


def test_an_answer_costs_what_the_endpoint_counted_else_what_is_counted_here() -> None:
    counted = reply(REQUEST, "Because.", prompt_tokens=100, completion_tokens=7)
    assert ledger(None).cost(REQUEST, counted) == PRICE.of(100, 7)
    uncounted = reply(REQUEST, "Because.", prompt_tokens=None, completion_tokens=None)
    assert ledger(None).cost(REQUEST, uncounted) == PRICE.of(COUNTER.prompt(REQUEST), 2)
    assert Ledger(None, COUNTER).cost(REQUEST, counted) == 0


def test_what_is_under_way_counts_as_if_it_were_as_dear_as_can_be() -> None:
    async def scenario() -> None:
        book = ledger(2.5 * MOST_USD)
        await book.reserve(REQUEST)
        second = await book.reserve(REQUEST)
        third = asyncio.create_task(book.reserve(REQUEST))
        await asyncio.sleep(0)
        assert not third.done()
        book.charge(second, REQUEST, reply(REQUEST, completion_tokens=1))
        assert await third == pytest.approx(MOST_USD)

    asyncio.run(scenario())


def test_what_was_refused_gives_its_money_back_and_what_was_lost_does_not() -> None:
    async def scenario() -> None:
        book = ledger(1.5 * MOST_USD)
        book.release(await book.reserve(REQUEST))
        assert book.spent_usd == book.lost_usd == 0
        book.release(await book.reserve(REQUEST), lost=REQUEST)
        assert book.lost_usd == pytest.approx(MOST_USD) and book.spent_usd == 0
        with pytest.raises(BudgetReachedError):
            await book.reserve(REQUEST)

    asyncio.run(scenario())


def test_it_ends_only_when_nothing_under_way_could_leave_enough() -> None:
    async def scenario() -> None:
        book = ledger(1.5 * MOST_USD)
        first = await book.reserve(REQUEST)
        waiting = [asyncio.create_task(book.reserve(REQUEST)) for _ in range(5)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        book.charge(first, REQUEST, reply(REQUEST, completion_tokens=LONGEST))
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(end, BudgetReachedError) for end in ends)

    asyncio.run(scenario())


def test_a_loss_is_known_without_a_budget_too() -> None:
    book = ledger(None)
    book.release(0.0, lost=REQUEST)
    book.close()
    assert book.lost_usd == pytest.approx(MOST_USD)


def test_a_server_that_counts_more_tokens_is_believed() -> None:
    async def scenario() -> None:
        book = ledger(1.0)
        reserved = await book.reserve(REQUEST)
        tokens = 3 * COUNTER.prompt(REQUEST)
        book.charge(reserved, REQUEST, reply(REQUEST, prompt_tokens=tokens))
        assert await book.reserve(REQUEST) == pytest.approx(PRICE.of(tokens, LONGEST))

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(8))
def test_no_budget_is_passed_with_hundreds_under_way(seed: int) -> None:
    chance = random.Random(seed)
    budget_usd = chance.uniform(3, 60) * MOST_USD
    book = ledger(budget_usd)
    prompt_tokens = COUNTER.prompt(REQUEST)

    async def ask() -> None:
        try:
            reserved = await book.reserve(REQUEST)
        except BudgetReachedError:
            return
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        end = chance.random()
        if end < 0.1:
            book.release(reserved)
        elif end < 0.2:
            book.release(reserved, lost=REQUEST)
        else:
            length = LONGEST if end < 0.5 else chance.randrange(LONGEST)
            book.charge(
                reserved,
                REQUEST,
                reply(REQUEST, prompt_tokens=prompt_tokens, completion_tokens=length),
            )
        assert book.spent_usd + book.lost_usd <= budget_usd

    async def all_at_once() -> None:
        await asyncio.gather(*(ask() for _ in range(400)))

    asyncio.run(all_at_once())
    # What is left would not have paid for one more.
    assert budget_usd - MOST_USD < book.spent_usd + book.lost_usd <= budget_usd
