"""What the distributed tests and their workers share: a tiny run on made-up documents."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from llama_gpt4.batches import Batches
from llama_gpt4.compose import compose_training
from llama_gpt4.config import TrainConfig
from llama_gpt4.data_config import DataConfig
from llama_gpt4.ranks import Ranks
from llama_gpt4.targets import Targets

VOCAB_SIZE = 512
ROWS_PER_STEP = 8
ROW_TOKENS = 64
RESUMED = (
    (0, "float32"),
    (1, "float32"),
    (2, "float32"),
    (1, "bfloat16"),
    (2, "bfloat16"),
    (3, "bfloat16"),
)
"""ZeRO stages and precisions whose checkpoints the worker writes and resumes from."""


class Documents:
    """Random documents of 4 to 60 tokens, the same everywhere."""

    def __init__(self, n: int = 61) -> None:
        numbers = np.random.default_rng(0)
        self.lengths: npt.NDArray[Any] = numbers.integers(4, 60, n)
        prompts = numbers.integers(1, self.lengths - 1)
        answers = np.stack([np.arange(n), prompts, self.lengths - prompts], axis=1)
        self.targets = Targets.from_table(answers, self.lengths)
        self._tokens = [numbers.integers(3, VOCAB_SIZE, k).astype(np.uint16) for k in self.lengths]

    @property
    def n(self) -> int:
        return len(self.lengths)

    def tokens_of(self, i: int, /) -> npt.NDArray[Any]:
        return self._tokens[i]


def tiny_config(*overrides: str) -> TrainConfig:
    return compose_training(
        [
            "model.n_layers=2",
            "model.hidden_size=64",
            "model.feed_forward_size=128",
            "model.n_kv_heads=2",
            f"data.row_tokens={ROW_TOKENS}",
            f"batch.tokens_per_step={ROWS_PER_STEP * ROW_TOKENS}",
            "launch.device=cpu",
            *overrides,
        ]
    )


def tiny_batches(
    data: DataConfig, normalisation: str, micro_rows: int, rank: int, world_size: int
) -> Batches:
    return Batches(
        Documents(),
        data,
        rows_per_step=ROWS_PER_STEP,
        rows_per_micro_step=micro_rows,
        normalisation=normalisation,
        seed=1,
        rank=rank,
        world_size=world_size,
    )


def backward(engine: Any, batches: Any, step: int, ranks: Ranks) -> float:
    """One step's passes, up to its update; the loss over all ranks."""
    micro_batches = list(batches.micro_batches(step))
    losses = []
    for index, batch in enumerate(micro_batches):
        engine.set_gradient_accumulation_boundary(index == len(micro_batches) - 1)
        loss = engine(
            batch.tokens,
            batch.positions,
            batch.document_lengths,
            batch.target_rows,
            batch.targets,
            batch.weights,
        )
        engine.backward(loss * ranks.world_size)
        losses.append(loss.detach().double())
    total = torch.stack(losses).sum()
    dist.all_reduce(total)
    return float(total)
