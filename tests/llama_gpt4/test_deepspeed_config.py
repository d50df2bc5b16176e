"""DeepSpeed's configuration has one author; golden files pin what it says for the recipes."""

import json
import os
from pathlib import Path

import pytest

from llama_gpt4.compose import compose_training
from llama_gpt4.deepspeed_config import deepspeed_config
from llama_gpt4.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize(
    "name, overrides, world_size",
    [
        ("deepspeed_7b_8gpu", ["experiment=alpaca_7b"], 8),
        ("deepspeed_13b_16gpu", ["experiment=en_zh_13b"], 16),
        ("deepspeed_offload", ["experiment=gpt4llm_release"], 16),
        ("deepspeed_hpz", ["experiment=alpaca_7b", "zero=hpz"], 16),
    ],
)
def test_the_derived_configuration_is_the_golden_one(
    name: str, overrides: list[str], world_size: int
) -> None:
    config = compose_training(overrides)
    assert config.model.hidden_size is not None
    derived = deepspeed_config(config, config.model.hidden_size, world_size)
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(derived, indent=2) + "\n")
    assert derived == json.loads(path.read_text())
    assert "auto" not in path.read_text()


def test_a_users_own_setting_is_added() -> None:
    config = compose_training(["+zero.deepspeed.zero_optimization.round_robin_gradients=true"])
    derived = deepspeed_config(config, 128, 16)
    assert derived["zero_optimization"]["round_robin_gradients"] is True
    assert derived["zero_optimization"]["stage"] == 3


def test_hpz_is_said_by_its_own_key_and_by_no_other() -> None:
    def partition(*overrides: str) -> int:
        derived = deepspeed_config(compose_training(list(overrides)), 128, 16)
        return derived["zero_optimization"]["zero_hpz_partition_size"]

    assert partition("zero=hpz") == 8
    assert partition("zero=hpz", "zero.hpz_processes=4") == 4
    assert partition("zero=stage3") == 1
    with pytest.raises(InputError, match="zero_hpz_partition_size=8 contradicts 1"):
        partition("+zero.deepspeed.zero_optimization.zero_hpz_partition_size=8")


def test_groups_of_hpz_are_whole() -> None:
    with pytest.raises(InputError, match=r"zero\.hpz_processes=8 does not divide the 12 processes"):
        deepspeed_config(compose_training(["zero=hpz"]), 128, 12)


@pytest.mark.parametrize("also", ["zero.stage=2", "zero.offload_parameters=true"])
def test_hpz_goes_with_parameters_that_are_sharded_on_the_gpu(also: str) -> None:
    with pytest.raises(InputError, match=r"zero\.hpz_processes=8 needs zero\.stage=3"):
        compose_training(["zero=hpz", also])


def test_a_users_setting_that_contradicts_names_both_sides() -> None:
    config = compose_training(["+zero.deepspeed.gradient_clipping=5.0"])
    with pytest.raises(InputError, match=r"gradient_clipping=5.0 contradicts 1.0"):
        deepspeed_config(config, 128, 2)


def test_gradients_are_summed_in_float32_and_kept_as_they_are_where_nothing_is_summed() -> None:
    def grad_dtype(world_size: int, *overrides: str) -> str:
        config = compose_training(["experiment=en_zh_13b", *overrides])  # 32 rows a step
        return deepspeed_config(config, 128, world_size)["data_types"]["grad_accum_dtype"]

    assert grad_dtype(8) == "bf16"  # 8 ranks of 4 rows: one micro-step
    assert grad_dtype(4) == "fp32"
    assert grad_dtype(8, "zero=stage2") == "fp32"
