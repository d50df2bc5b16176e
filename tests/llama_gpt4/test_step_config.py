"""Invariants of an optimizer step."""

from collections.abc import Callable

import pytest

from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError

Make = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    "key, value",
    [
        ("loss.normalisation", "tokens"),
        ("optim.betas", [0.9]),
        ("optim.eps", 0.0),
        ("optim.weight_decay", -1.0),
        ("optim.max_grad_norm", -1.0),
        ("schedule.kind", "cosin"),
        ("schedule.warmup_frac", 1.5),
        ("schedule.steps", 0),
        ("precision.dtype", "float16"),
        ("precision.float32_matmul", "high"),
        ("zero.stage", 4),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_key(
    train_config: Make, key: str, value: object
) -> None:
    with pytest.raises(InputError, match=key.replace(".", r"\.")) as error:
        train_config(**{key: value})
    assert "\n" not in str(error.value)


def test_offloading_needs_something_that_is_sharded(train_config: Make) -> None:
    with pytest.raises(InputError, match=r"offload_parameters needs zero\.stage=3, not 2"):
        train_config(**{"zero.stage": 2, "zero.offload_parameters": True})
    with pytest.raises(InputError, match=r"offload_optimizer needs zero\.stage=1, 2 or 3"):
        train_config(**{"zero.stage": 0, "zero.offload_optimizer": True})
