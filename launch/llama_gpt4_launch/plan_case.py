"""One training configuration on one set of GPUs, and the same with something changed."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

from llama_gpt4.architecture import LlamaConfig, parameter_shapes
from llama_gpt4.config import TrainConfig
from llama_gpt4.deepspeed_config import deepspeed_config
from llama_gpt4_launch.plan_config import AssumptionConfig, Gpu
from llama_gpt4_launch.plan_data import Workload

GIB = 2**30
ITEM_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, kw_only=True)
class Hardware:
    gpu: Gpu
    nodes: int
    gpus_per_node: int
    network_gb_s: float
    assume: AssumptionConfig

    @property
    def world_size(self) -> int:
        return self.nodes * self.gpus_per_node


@dataclass(frozen=True, kw_only=True)
class Case:
    """One configuration on one set of GPUs."""

    config: TrainConfig
    architecture: LlamaConfig
    workload: Workload
    hardware: Hardware
    matrices: tuple[int, ...]
    """Elements of every matrix."""
    vectors: tuple[int, ...]
    """Elements of every norm weight; the optimizer has the two as groups of their own."""

    @staticmethod
    def of(
        config: TrainConfig, architecture: LlamaConfig, workload: Workload, hardware: Hardware
    ) -> "Case":
        shapes = list(parameter_shapes(architecture).values())
        return Case(
            config=config,
            architecture=architecture,
            workload=workload,
            hardware=hardware,
            matrices=tuple(prod(shape) for shape in shapes if len(shape) > 1),
            vectors=tuple(prod(shape) for shape in shapes if len(shape) == 1),
        )

    @property
    def numels(self) -> tuple[int, ...]:
        """Elements of every parameter."""
        return self.matrices + self.vectors

    @property
    def item_bytes(self) -> int:
        """Of one weight in training precision."""
        return ITEM_BYTES[self.config.precision.dtype]

    @property
    def busiest_rows(self) -> int:
        """Rows in a micro-step of the rank that has most."""
        return min(self.config.batch.rows_per_micro_step, self.config.rows_per_step)

    @property
    def micro_steps(self) -> int:
        rows = self.config.batch.rows_per_micro_step * self.hardware.world_size
        return math.ceil(self.config.rows_per_step / rows)

    @property
    def idle_gpus(self) -> int:
        """GPUs that get no row in any step, because there are fewer micro-batches."""
        micro_batches = math.ceil(self.config.rows_per_step / self.config.batch.rows_per_micro_step)
        return max(0, self.hardware.world_size - micro_batches)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What DeepSpeed would be told."""
        return deepspeed_config(
            self.config, self.architecture.hidden_size, self.hardware.world_size
        )

    def with_zero(self, **changes: Any) -> "Case":
        return self._with(zero=replace(self.config.zero, **changes))

    def with_rows(self, rows: int) -> "Case":
        return self._with(batch=replace(self.config.batch, rows_per_micro_step=rows))

    def with_rows_per_step(self, rows: int) -> "Case":
        is_packed = self.config.data.batching == "pack"
        size = (
            {"tokens_per_step": rows * self.config.data.row_tokens}
            if is_packed
            else {"examples_per_step": rows}
        )
        return self._with(batch=replace(self.config.batch, **size))

    def with_recompute(self, policy: str) -> "Case":
        return self._with(model=replace(self.config.model, recompute=policy))

    def on_nodes(self, nodes: int) -> "Case":
        return replace(self, hardware=replace(self.hardware, nodes=nodes))

    def _with(self, **sections: Any) -> "Case":
        return replace(self, config=replace(self.config, **sections))
