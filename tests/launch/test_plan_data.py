"""What there is to train on: counted in a cache, guessed from texts, or assumed."""

import json
from pathlib import Path

import pytest
from llama_gpt4_launch.plan_config import PlannedConfig
from llama_gpt4_launch.plan_data import Workload, workload

from llama_gpt4.batches import Batches
from llama_gpt4.compose import compose, compose_training
from llama_gpt4.errors import InputError
from llama_gpt4.prepare import prepare


def planned(*overrides: str) -> Workload:
    return workload(compose(PlannedConfig, "plan", overrides))


def test_prepared_data_are_counted(tmp_path: Path) -> None:
    keys = [f"data.cache_dir={tmp_path}", "tokenizer.vocab_size=1024", "data.row_tokens=256"]
    before = planned(*keys)
    assert before.is_estimate and "ESTIMATED" in before.source
    config = compose_training(keys)
    train = prepare(config).train
    after = planned(*keys)
    assert not after.is_estimate
    batches = Batches(
        train,
        config.data,
        rows_per_step=config.rows_per_step,
        rows_per_micro_step=2,
        normalisation="global_tokens",
        seed=config.seed,
        rank=0,
        world_size=1,
    )
    assert (after.examples, after.tokens) == (train.n, int(train.lengths.sum()))
    assert (after.rows, after.steps) == (batches.rows_per_epoch, batches.steps_per_epoch)
    assert after.target_tokens == int((train.lengths - train.prompt_lengths).sum())
    assert after.squared_lengths == int((train.lengths**2).sum())
    assert after.vocab_size == 1024
    assert after.longest is not None and after.longest[0] == int(train.lengths.max())


def test_weights_are_counted_before_and_after_the_data_are_prepared(tmp_path: Path) -> None:
    keys = [f"data.cache_dir={tmp_path}", "data.weights=[2,0.5]"]
    guessed = planned(*keys)
    prepared = prepare(compose_training(keys))
    counted = planned(*keys)
    assert (guessed.is_estimate, counted.is_estimate) == (True, False)
    in_epoch = prepared.report["train"]["epoch"]
    assert guessed.examples == counted.examples == in_epoch["examples"] == prepared.train.n
    assert (counted.tokens, counted.target_tokens) == (
        in_epoch["tokens"],
        in_epoch["target_tokens"],
    )
    assert 0.7 < guessed.tokens / counted.tokens < 1.3


def test_a_guess_is_near_what_is_counted(tmp_path: Path) -> None:
    """With a tokenizer of 2,048 pieces, of which texts in a larger one need fewer."""
    keys = [f"data.cache_dir={tmp_path}"]
    guessed = planned(*keys)
    prepare(compose_training(keys))
    counted = planned(*keys)
    assert guessed.examples == counted.examples
    assert 0.7 < guessed.tokens / counted.tokens < 1.3


def test_data_that_are_not_here_can_be_described() -> None:
    work = planned("experiment=alpaca_7b", "plan.examples=52002", "plan.tokens_per_example=200")
    assert (work.examples, work.tokens, work.steps) == (52002, 10_400_400, 406)
    assert work.is_estimate and "ASSUMED" in work.source
    packed = planned("experiment=en_zh_13b", "plan.examples=1000", "plan.tokens_per_example=204.8")
    assert (packed.rows, packed.steps) == (100, 4)  # 32 rows a step, the last window kept


def test_missing_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.json of data\.files does not exist.*plan\.examples"):
        planned(f"data.files=[{tmp_path}/no.json]")


def test_records_that_never_fit_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_text(json.dumps([{"instruction": "a" * 900, "output": "b"}]))
    with pytest.raises(InputError, match=r"no record seems to fit data\.row_tokens=64"):
        planned(f"data.files=[{path}]", "data.row_tokens=64", f"data.cache_dir={tmp_path}")


def test_a_tokenizer_on_the_hub_is_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "few.json"
    path.write_text(json.dumps([{"instruction": "Why?", "output": "Because."}] * 200))
    work = planned("experiment=alpaca_7b", f"data.files=[{path}]")
    assert work.is_estimate and work.examples == 200


def test_the_longest_bound_a_padded_micro_batch() -> None:
    config = compose(PlannedConfig, "plan", ["experiment=alpaca_7b", "plan.examples=10"])
    work = workload(config)
    assert work.peak_tokens(config, 4) == 4 * 2048
