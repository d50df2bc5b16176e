"""Which flat range of each parameter, and of its optimizer state, this rank holds under each ZeRO
stage: the one file that knows DeepSpeed's insides.

DeepSpeed 0.19: stage 3 cuts every parameter into `world_size` equal ranges and lays a rank's ranges
end to end in flat float32 buffers (`grad_position`); stages 1 and 2 and the bfloat16 optimizer lay
whole parameters end to end and cut that (`_hp_mapping`); stage 0 keeps torch's own optimizer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Range:
    """Elements `start … start + n` of the flattened parameter `name`."""

    name: str
    start: int
    n: int


@dataclass(frozen=True)
class Fragment:
    """Elements `start … start + n` of the flattened parameter `name`, as views: float32 master
    weights and AdamW's moments, each (n,)."""

    name: str
    start: int
    master: Tensor
    moments: dict[str, Tensor]


def fragments(engine: Any) -> Iterator[Fragment]:
    """What this rank holds, once over all ranks; replicas of stage 0 belong to rank 0."""
    for name, param in engine.module.named_parameters():
        located = _locate(engine, param)
        if located is None:
            continue
        flat, offset, start, n = located
        state = _torch_optimizer(engine).state[flat]
        yield Fragment(
            name=name,
            start=start,
            master=flat.data.view(-1).narrow(0, offset, n),
            moments={key: state[key].view(-1).narrow(0, offset, n) for key in MOMENTS},
        )


def ranges(engine: Any) -> list[Range]:
    """Where the fragments lie, in their order; known before the first update makes the moments."""
    located = ((name, _locate(engine, param)) for name, param in engine.module.named_parameters())
    return [Range(name, start=at[2], n=at[3]) for name, at in located if at is not None]


def create_moments(engine: Any, step: int) -> None:
    """Give AdamW the state that it would have after `step` updates, moments still zero.

    torch creates it in the first update; a resumed run has to fill it before.
    """
    optimizer = _torch_optimizer(engine)
    for flat in _flat_tensors(engine):
        optimizer.state[flat] = {
            "step": torch.tensor(float(step), device=flat.device),
            **{key: torch.zeros_like(flat, memory_format=torch.preserve_format) for key in MOMENTS},
        }


def shapes(engine: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter, whole."""
    return {
        name: tuple(getattr(param, "ds_shape", param.shape))
        for name, param in engine.module.named_parameters()
    }


def is_replicated(engine: Any) -> bool:
    """Whether every rank holds everything, as under stage 0."""
    return isinstance(engine.optimizer, torch.optim.Optimizer)


def local_slices(model: torch.nn.Module) -> Iterator[tuple[str, int, Tensor]]:
    """`(name, start, values (n,))` of the weights in training precision that this process stores:
    its own range of each parameter under `zero.Init`, else the whole of it."""
    param: Any  # DeepSpeed hangs its own attributes on it
    for name, param in model.named_parameters():
        if hasattr(param, "ds_tensor"):
            start = dist.get_rank() * param.partition_numel()
            n = min(param.partition_numel(), param.ds_numel - start)
            if n > 0:
                yield name, start, param.ds_tensor.data.narrow(0, 0, n)
        else:
            yield name, 0, param.data.view(-1)


def _locate(engine: Any, param: Any) -> tuple[Tensor, int, int, int] | None:
    """(flat tensor, offset in it, start in the parameter, length), or None if nothing is here."""
    optimizer = engine.optimizer
    if hasattr(param, "ds_id"):
        group, offset, _ = optimizer.grad_position[optimizer.get_param_id(param)]
        start = dist.get_rank() * param.partition_numel()
        n = min(param.partition_numel(), param.ds_numel - start)
        return (optimizer.fp32_partitioned_groups_flat[group], offset, start, n) if n > 0 else None
    if hasattr(param, "_hp_mapping"):
        mapping = param._hp_mapping
        if mapping is None:
            return None
        flat = _flat_tensors(engine)[mapping.param_group_index]
        where = mapping.hp_fragment_address
        return flat, where.start, mapping.lp_fragment_address.start, where.numel
    return (param, 0, 0, param.numel()) if dist.get_rank() == 0 else None


def _flat_tensors(engine: Any) -> list[Tensor]:
    """The tensors that torch's optimizer updates on this rank."""
    for attribute in (
        "fp32_partitioned_groups_flat",  # stage 3
        "single_partition_of_fp32_groups",  # stages 1 and 2
        "fp32_groups_flat_partition",  # bfloat16 optimizer, stages 0 and 1
    ):
        if hasattr(engine.optimizer, attribute):
            return getattr(engine.optimizer, attribute)
    return [param for group in engine.optimizer.param_groups for param in group["params"]]


def _torch_optimizer(engine: Any) -> torch.optim.Optimizer:
    return getattr(engine.optimizer, "optimizer", engine.optimizer)
