"""Prices: of which model, whose word counts, and the budgets that cannot be kept."""

import re
import shlex

import pytest
from llama_gpt4_data.answer import PROGRAM, AnswerConfig
from llama_gpt4_data.generation_config import (
    ModelPrice,
    PricesConfig,
    counter_for,
    model_price,
    price_of,
    price_within_budget,
)
from llama_gpt4_data.ledger import Price

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError

from .endpoints import endpoint_config, prices_config, run_config


def composed(*overrides: str) -> AnswerConfig:
    return compose(AnswerConfig, PROGRAM, ["files=[sample:en]", "run.output_dir=data", *overrides])


@pytest.fixture(scope="module")
def shipped() -> PricesConfig:
    return composed().prices


@pytest.mark.parametrize(
    "model, input_usd",
    [
        ("gpt-4", 30),
        ("gpt-4-0613", 30),
        ("gpt-4o-2024-08-06", 2.5),
        ("gpt-4o-2024-05-13", 5),
        ("gpt-3.5-turbo", 0.5),
        ("gpt-3.5-turbo-0613", 1.5),
        ("gpt-4-1106-preview", 10),
        ("gpt-4.1-mini-2025-04-14", 0.4),
    ],
)
def test_a_snapshot_costs_what_its_model_does_unless_it_has_its_own_price(
    shipped: PricesConfig, model: str, input_usd: float
) -> None:
    price = model_price(shipped, model)
    assert price is not None and price.input_usd == input_usd


@pytest.mark.parametrize("model", ["gpt-5-pro", "gpt-4.5-preview", "gpt-4o-audio-preview", "gpt4"])
def test_a_model_that_is_only_called_alike_has_no_price(shipped: PricesConfig, model: str) -> None:
    assert model_price(shipped, model) is None


def test_the_table_says_when_it_was_true_and_where_it_comes_from(shipped: PricesConfig) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", shipped.as_of) and shipped.source.startswith("https://")
    assert shipped.batch_frac == 0.5


def test_a_price_on_the_command_line_comes_before_the_table() -> None:
    config = composed("teacher.price={input_usd: 1, output_usd: 2}")
    assert price_of(config.prices, config.teacher) == Price(input_usd=1, output_usd=2)
    config = composed("prices.models.gpt-4.input_usd=7")
    price = price_of(config.prices, config.teacher)
    assert price is not None and (price.input_usd, price.output_usd) == (7, 60)


def test_a_server_of_ones_own_costs_nothing() -> None:
    config = composed("endpoint@teacher=local", "teacher.model=tiny", "teacher.licence=mit")
    assert price_of(config.prices, config.teacher) == Price(input_usd=0, output_usd=0)


def test_a_budget_without_a_price_says_the_words_that_set_one() -> None:
    line = ["teacher.model=new:7b", "run.budget_usd=5"]
    config = composed(*line)
    with pytest.raises(InputError) as error:
        price_within_budget(config.prices, config.teacher, config.run.budget_usd)
    assert "the price of new:7b is not known" in str(error.value)
    [words] = re.findall(r"('teacher\.price=.*?')", str(error.value))
    config = composed(*line, *shlex.split(words))
    price = price_within_budget(config.prices, config.teacher, config.run.budget_usd)
    assert price == Price(input_usd=2.5, output_usd=10)


def test_a_budget_needs_a_longest_answer() -> None:
    prices = prices_config(
        **{"gpt-4": ModelPrice(input_usd=1, output_usd=1, encoding="cl100k_base")}
    )
    with pytest.raises(InputError, match=r"needs the longest answer: set parameters\.max_tokens"):
        price_within_budget(prices, endpoint_config(parameters={}), 5.0)
    by_new_name = endpoint_config(parameters={"max_completion_tokens": 9})
    assert price_within_budget(prices, by_new_name, 5.0) is not None
    assert price_within_budget(prices, endpoint_config(parameters={}), None) is not None


def test_tokens_are_counted_as_the_model_does(shipped: PricesConfig) -> None:
    text = "请解释为什么天空是蓝色的。"
    older = counter_for(shipped, endpoint_config(model="gpt-4-0613")).text(text)
    newer = counter_for(shipped, endpoint_config(model="gpt-4o")).text(text)
    assert newer < older
    assert counter_for(shipped, endpoint_config(model="tiny")).text(text) == newer


@pytest.mark.parametrize(
    "override, words",
    [
        ("teacher.price={input_usd: -1, output_usd: 2}", "price: input_usd=-1.0 is negative"),
        ("prices.models.gpt-4.encoding=gpt2", "price: encoding=gpt2 is not one of cl100k_base"),
        ("prices.batch_frac=0", r"prices\.batch_frac=0\.0 is not in \(0, 1\]"),
        ("run.workers=0", r"run\.workers=0 must be positive"),
        ("run.budget_usd=0", r"run\.budget_usd=0\.0 must be positive"),
        ("run.mode=later", r"run\.mode=later is not one of live, batch"),
        ("run.batch.most_requests=0", r"run\.batch\.most_requests=0 must be positive"),
        ("run.batch.poll_seconds=900", "longest_poll_seconds=300 is shorter than"),
    ],
)
def test_values_that_make_no_sense_are_one_line(override: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        composed(override)
    assert "\n" not in str(error.value)


def test_no_budget_is_no_limit() -> None:
    assert price_within_budget(prices_config(), endpoint_config(), run_config().budget_usd) is None
