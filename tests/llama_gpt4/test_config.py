"""Invariants of a configuration: what is refused, and with which key."""

from collections.abc import Callable

import pytest

from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError

Make = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    "key, value",
    [
        ("data.row_tokens", 1),
        ("data.policy.too_long", "cut"),
        ("data.batching", "both"),
        ("data.last_window", "maybe"),
        ("data.validation.share", 1.0),
        ("train.epochs", 0),
        ("train.steps", 0),
        ("train.log_every_steps", 0),
        ("train.save_every_steps", -1),
        ("train.eval_every_steps", -1),
        ("train.keep_checkpoints", 0),
        ("tracking.kind", "mlflow"),
        ("evaluation.n_questions", -1),
        ("evaluation.answer_tokens", 0),
        ("launch.processes", 0),
        ("launch.device", "tpu"),
        ("launch.timeout_minutes", 0),
        ("launch.hang_seconds", 0),
        ("batch.rows_per_micro_step", 0),
        ("seed", -1),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_key(
    train_config: Make, key: str, value: object
) -> None:
    with pytest.raises(InputError, match=key.replace(".", r"\.")) as error:
        train_config(**{key: value})
    assert "\n" not in str(error.value)


def test_bfloat16_needs_float32_master_weights(train_config: Make) -> None:
    with pytest.raises(InputError, match="would keep no float32 weights: use zero=stage1"):
        train_config(**{"zero.stage": 0, "precision.dtype": "bfloat16"})


def test_the_global_batch_is_counted_in_tokens_or_in_examples(train_config: Make) -> None:
    assert train_config(**{"batch.tokens_per_step": 2048}).rows_per_step == 4
    padded = {"data.batching": "pad", "batch.examples_per_step": 6}
    assert train_config(**padded).rows_per_step == 6
    with pytest.raises(InputError, match=r"tokens_per_step=2048 is for data\.batching=pack"):
        train_config(**padded, **{"batch.tokens_per_step": 2048})
    with pytest.raises(InputError, match=r"examples_per_step=6 is for data\.batching=pad"):
        train_config(**{"batch.examples_per_step": 6})


def test_validation_is_a_file_or_a_share_but_not_both(train_config: Make) -> None:
    with pytest.raises(InputError, match="both given: keep one"):
        train_config(**{"data.validation.files": ["x.json"], "data.validation.share": 0.1})
