"""Run by torchrun: one ZeRO-3 step by each recompute policy and operator set, and what it moves."""

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus
from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator
from deepspeed.utils import safe_get_full_grad
from tiny import VOCAB_SIZE, tiny_config
from torch.utils._python_dispatch import TorchDispatchMode

from llama_gpt4 import engine as engines
from llama_gpt4.architecture import from_sizes
from llama_gpt4.program import end_at_once
from llama_gpt4.ranks import Ranks, join, leave
from llama_gpt4.recompute import LAYER_RUNNERS
from llama_gpt4.weights import RandomWeights

LENGTHS = (9, 1, 6)


class Products(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.total += func.overloadpacket.__name__ in ("mm", "addmm", "matmul")
        return func(*args, **(kwargs or {}))


@contextmanager
def gathers(engine: Any) -> Iterator[Counter[str]]:
    """How often each parameter is fetched from the other ranks."""
    names = {id(param): name for name, param in engine.module.named_parameters()}
    method = "_PartitionedParameterCoordinator__all_gather_params"
    original = getattr(PartitionedParameterCoordinator, method)
    counts: Counter[str] = Counter()

    def counted(self: Any, params: Any, forward: bool) -> None:
        counts.update(names[id(p)] for p in params if p.ds_status == ZeroParamStatus.NOT_AVAILABLE)
        original(self, params, forward)

    setattr(PartitionedParameterCoordinator, method, counted)
    try:
        yield counts
    finally:
        setattr(PartitionedParameterCoordinator, method, original)


def micro_step(engine: Any, ranks: Ranks) -> float:
    """A forward and a backward pass; only rank 0 has targets."""
    n = sum(LENGTHS)
    tokens = torch.randint(3, VOCAB_SIZE, (n,), generator=torch.Generator().manual_seed(ranks.rank))
    rows = torch.tensor([4, 5, 6, 7, 12, 13] if ranks.rank == 0 else [], dtype=torch.int64)
    loss = engine(
        tokens,
        torch.cat([torch.arange(length) for length in LENGTHS]),
        LENGTHS,
        rows,
        tokens[rows + 1],
        torch.full((len(rows),), 1 / 6),
    )
    engine.backward(loss * ranks.world_size)
    total = loss.detach().double()
    dist.all_reduce(total)
    return float(total)


@contextmanager
def distances_of_a_large_model() -> Iterator[None]:
    """DeepSpeed keeps what it needs again soon: here the head, but not a layer beside it."""
    original = engines.deepspeed_config

    def scaled(*arguments: Any) -> dict[str, Any]:
        settings = original(*arguments)
        settings["zero_optimization"] |= {
            "stage3_max_live_parameters": 50_000,
            "stage3_max_reuse_distance": 50_000,
            "stage3_prefetch_bucket_size": 10_000,
        }
        return settings

    engines.deepspeed_config = scaled
    try:
        yield
    finally:
        engines.deepspeed_config = original


def live_bytes() -> int:
    """Bytes of all tensors of this process."""
    storages = {}
    for found in gc.get_objects():
        try:
            is_tensor = isinstance(found, torch.Tensor)
        except ReferenceError:
            continue
        if is_tensor and found.device.type == "cpu":
            storage = found.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def one_policy(kernels: str, policy: str, ranks: Ranks, out: Path) -> None:
    config = tiny_config(f"model.kernels={kernels}", f"model.recompute={policy}")
    architecture = from_sizes(config.model, VOCAB_SIZE)
    with distances_of_a_large_model():
        engine = engines.build_engine(config, architecture, RandomWeights(architecture, 0), ranks)
    curve = []
    for step in range(3):
        engine.set_gradient_accumulation_boundary(True)
        with gathers(engine) as gathered, Products() as products:
            loss = micro_step(engine, ranks)
        if step == 0:
            gradients = {}
            for name, param in engine.module.named_parameters():
                gradients[name] = safe_get_full_grad(param).float().numpy().copy()
        engines.set_learning_rate(engine, 1e-3)
        curve.append((loss, engines.step(engine)))
    if ranks.rank == 0:
        np.savez(
            out / f"{kernels}-{policy}.npz",
            curve=curve,
            products=products.total,
            head_gathers=gathered["lm_head.weight"],
            layer_gathers=gathered["model.layers.0.mlp.up_proj.weight"],
            **gradients,
        )


def bytes_per_parameter(ranks: Ranks, out: Path) -> None:
    """Of this rank's share after two steps; without DeepSpeed's bucket, which is of fixed size."""
    config = tiny_config(
        "precision.dtype=bfloat16",
        "model.hidden_size=256",
        "model.feed_forward_size=1024",
        "batch.rows_per_micro_step=4",
    )
    architecture = from_sizes(config.model, VOCAB_SIZE)
    before = live_bytes()
    engine = engines.build_engine(config, architecture, RandomWeights(architecture, 0), ranks)
    for _ in range(2):
        engine.set_gradient_accumulation_boundary(True)
        micro_step(engine, ranks)
        engines.set_learning_rate(engine, 1e-3)
        engines.step(engine)
    settings = engines.deepspeed_config(config, architecture.hidden_size, ranks.world_size)
    bucket = 2 * settings["zero_optimization"]["reduce_bucket_size"]
    share = sum(p.ds_numel for p in engine.module.parameters()) / ranks.world_size
    if ranks.rank == 0:
        found = (live_bytes() - before - bucket) / share
        np.savez(out / "state.npz", bytes_per_parameter=found)


def main(out: Path) -> None:
    ranks = join(tiny_config().launch)
    bytes_per_parameter(ranks, out)
    for policy in LAYER_RUNNERS:
        one_policy("reference", policy, ranks, out)
    for policy in ("none", "lean"):
        one_policy("fused", policy, ranks, out)
    leave()


main(Path(sys.argv[1]))
end_at_once(0)
