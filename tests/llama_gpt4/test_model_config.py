"""Invariants of the model's sizes."""

from collections.abc import Callable

import pytest

from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError

Make = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    "key, value",
    [
        ("model.kernels", "fast"),
        ("model.recompute", "some"),
        ("model.n_kv_heads", 3),
        ("model.n_layers", 0),
        ("model.hidden_size", 34),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_key(
    train_config: Make, key: str, value: object
) -> None:
    with pytest.raises(InputError, match=key.replace(".", r"\.")) as error:
        train_config(**{key: value})
    assert "\n" not in str(error.value)
