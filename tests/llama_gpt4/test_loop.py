"""What ends a training within a step, with DeepSpeed's engine around a matrix; whole runs:
tests/distributed and tests/e2e."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llama_gpt4 import engine as engines
from llama_gpt4.checkpoint import RunState
from llama_gpt4.config import LaunchConfig, TrainConfig
from llama_gpt4.engine import engine_of
from llama_gpt4.errors import InputError
from llama_gpt4.loop import Course, Task, fit
from llama_gpt4.metrics import Metrics
from llama_gpt4.program import StopRequest
from llama_gpt4.publication import saved_steps
from llama_gpt4.ranks import Ranks, join, leave
from llama_gpt4.schedule import Plan


@pytest.fixture(scope="module")  # DeepSpeed remembers the first process group of a process
def ranks() -> Iterator[Ranks]:
    yield join(LaunchConfig(processes=1, device="cpu", timeout_minutes=1, hang_seconds=60))
    leave()


class Numbers:
    """One micro-batch a step: the number of the step."""

    steps_per_epoch = 10

    def micro_batches(self, step: int) -> Iterator[Tensor]:
        yield torch.full((1, 4), float(step))

    def micro_steps(self, step: int) -> int:
        return 1

    def tokens(self, step: int) -> int:
        return 1

    target_tokens = tokens


def losing(infinite_slope_at: int) -> Callable[[Any, Tensor], dict[str, Tensor]]:
    """A loss that is 0 in the given step, with a slope that no number is."""

    def parts_of(engine: Any, batch: Tensor) -> dict[str, Tensor]:
        out = engine(batch)
        is_steep = int(batch[0, 0]) == infinite_slope_at
        return {"loss": (out - out.detach()).sqrt().sum() if is_steep else out.square().sum()}

    return parts_of


@pytest.mark.parametrize("stage", [0, 1])
def test_a_gradient_that_is_not_finite_ends_the_run_and_is_not_saved(
    ranks: Ranks, train_config: Callable[..., TrainConfig], stage: int
) -> None:
    config = train_config(
        **{"zero.stage": stage, "precision.dtype": "float32", "train.save_every_steps": 1}
    )

    def build(settings: dict[str, Any]) -> torch.nn.Module:
        with engines.sharded(config, settings, ranks.device):
            return torch.nn.Linear(4, 4)

    engine = engine_of(config, build, 4, None, ranks)
    task = Task(
        batches=Numbers(),
        parts_of=losing(infinite_slope_at=2),
        names_of=lambda batch: [f"step {int(batch[0, 0])}"],
        flops_of=lambda step: 1.0,
        evaluate=None,
        sample=None,
        looks_first=False,
    )
    Path(config.run_dir).mkdir(parents=True, exist_ok=True)
    plan = Plan(total_steps=10, warmup_steps=0, stop_step=10)
    course = Course(engine, task, plan, config, ranks, Metrics(config, ranks, 0, 10))
    with pytest.raises(InputError, match=r"gradient of step 3 is not finite although its loss is"):
        fit(course, RunState(0, ""), {}, StopRequest())
    assert saved_steps(Path(config.run_dir)) == [2]
