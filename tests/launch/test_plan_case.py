"""A case, and the same with something changed."""

import pytest

from llama_gpt4.architecture import n_parameters
from llama_gpt4.errors import InputError

from .planning import case_of


def test_the_case_is_llama_7b() -> None:
    case = case_of("experiment=alpaca_7b")
    assert sum(case.numels) == n_parameters(case.architecture) == 6_738_415_616
    assert len(case.vectors) == 65


def test_a_batch_can_have_fewer_rows_than_a_micro_batch() -> None:
    case = case_of("experiment=tiny", "batch.rows_per_micro_step=64")
    assert (case.busiest_rows, case.micro_steps) == (4, 1)


def test_changes_leave_the_rest_alone() -> None:
    case = case_of("experiment=alpaca_7b")
    changed = case.with_rows(2).with_recompute("full").with_zero(stage=2).on_nodes(4)
    assert changed.config.batch.rows_per_micro_step == 2
    assert changed.config.model.recompute == "full"
    assert changed.config.zero.stage == 2
    assert changed.hardware.world_size == 32
    assert changed.config.optim == case.config.optim
    assert case.config.zero.stage == 3


def test_a_larger_batch_is_counted_as_the_data_are_batched() -> None:
    padded = case_of("experiment=alpaca_7b").with_rows_per_step(256)
    assert padded.config.batch.examples_per_step == padded.config.rows_per_step == 256
    packed = case_of("experiment=en_zh_13b").with_rows_per_step(64)
    assert packed.config.batch.tokens_per_step == 64 * 2048
    assert packed.config.rows_per_step == 64


def test_what_deepspeed_refuses_is_refused() -> None:
    with pytest.raises(InputError, match="contradicts"):
        _ = case_of("+zero.deepspeed.gradient_clipping=5.0").settings
