"""The recipes come to the paper's numbers."""

from dataclasses import replace

import numpy as np
import pytest

from llama_gpt4.batches import Batches
from llama_gpt4.compose import compose_training
from llama_gpt4.config import TrainConfig
from llama_gpt4.schedule import learning_rate, plan_steps
from tests.llama_gpt4.one_answer import after_prompts

ENGLISH, CHINESE = 52_002, 48_818


class Lengths:
    """As many examples as a published file has, of no particular length."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.lengths = np.full(n, 200)
        self.targets = after_prompts(self.lengths, np.full(n, 50))

    def tokens_of(self, i: int, /) -> np.ndarray:
        return np.zeros(self.lengths[i], dtype=np.uint16)


def steps_per_epoch(config: TrainConfig, n: int, world_size: int) -> int:
    return Batches(
        Lengths(n),
        config.data,
        rows_per_step=config.rows_per_step,
        rows_per_micro_step=config.batch.rows_per_micro_step,
        normalisation=config.loss.normalisation,
        seed=config.seed,
        rank=0,
        world_size=world_size,
    ).steps_per_epoch


@pytest.mark.parametrize(
    "experiment, records, total, warmup",
    [
        ("gpt4llm_release", ENGLISH, 2_436, 74),
        ("alpaca_7b", ENGLISH, 1_218, 37),
        ("alpaca_13b", ENGLISH, 2_030, 61),
        ("zh_7b", CHINESE, 2_289, 69),
    ],
)
def test_steps_and_warm_up_are_the_papers(
    experiment: str, records: int, total: int, warmup: int
) -> None:
    config = compose_training([f"experiment={experiment}"])
    for world_size in (4, 8, 16):
        plan = plan_steps(config, steps_per_epoch(config, records, world_size))
        assert (plan.total_steps, plan.warmup_steps, plan.stop_step) == (total, warmup, total)


@pytest.mark.parametrize(
    "experiment, rows, epochs, lr, kind, dtype",
    [
        ("gpt4llm_release", 64, 3, 2e-5, "log_warmup_constant", "float32"),
        ("alpaca_7b", 128, 3, 2e-5, "cosine", "bfloat16"),
        ("alpaca_13b", 128, 5, 1e-5, "cosine", "bfloat16"),
        ("zh_7b", 64, 3, 2e-5, "log_warmup_constant", "float32"),
    ],
)
def test_hyper_parameters_are_the_papers(
    experiment: str, rows: int, epochs: int, lr: float, kind: str, dtype: str
) -> None:
    config = compose_training([f"experiment={experiment}"])
    assert config.rows_per_step == rows
    assert config.train.epochs == epochs
    assert config.schedule.kind == kind
    assert config.schedule.warmup_frac == 0.03
    assert config.precision.dtype == dtype
    optim = config.optim
    assert (optim.lr, optim.betas, optim.eps) == (lr, [0.9, 0.999], 1e-8)
    assert (optim.weight_decay, optim.max_grad_norm) == (0.0, 1.0)
    assert config.zero.stage == 3


def test_the_released_run_offloads_and_takes_one_example_at_a_time() -> None:
    config = compose_training(["experiment=gpt4llm_release"])
    assert config.zero.offload_optimizer and config.zero.offload_parameters
    assert config.batch.rows_per_micro_step == 1


def test_the_released_rate_is_flat_after_its_warm_up() -> None:
    config = compose_training(["experiment=gpt4llm_release"])
    plan = plan_steps(config, 812)

    def rate(step: int) -> float:
        return learning_rate(
            step,
            kind=config.schedule.kind,
            peak=config.optim.lr,
            warmup_steps=plan.warmup_steps,
            total_steps=plan.total_steps,
        )

    assert rate(0) == 0
    assert rate(36) == pytest.approx(2e-5 * np.log(37) / np.log(74))
    assert rate(74) == rate(2_435) == 2e-5


def test_where_training_stops_does_not_change_the_schedule() -> None:
    config = compose_training(["experiment=alpaca_7b"])
    stopped = replace(config, train=replace(config.train, steps=100))
    assert plan_steps(stopped, 406).stop_step == 100
    assert plan_steps(stopped, 406).total_steps == plan_steps(config, 406).total_steps
