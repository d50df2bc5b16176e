"""Run by torchrun on four processes: what the states of real engines take beside what the plan
says, and a run with hpZ beside one without."""

import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from llama_gpt4_launch.plan_case import Case, Hardware
from llama_gpt4_launch.plan_config import AssumptionConfig, Gpu
from llama_gpt4_launch.plan_data import Workload
from llama_gpt4_launch.plan_memory import bucket_bytes, state_bytes
from tiny import VOCAB_SIZE, tiny_config

from llama_gpt4 import engine as engines
from llama_gpt4.architecture import from_sizes
from llama_gpt4.config import TrainConfig
from llama_gpt4.program import end_at_once
from llama_gpt4.ranks import Ranks, join, leave
from llama_gpt4.weights import RandomWeights

OFFLOAD = "zero.offload_optimizer=true"
STATES = {
    "stage0-float32": ("zero=stage0",),
    "stage1-float32": ("zero=stage1",),
    "stage2-float32": ("zero=stage2",),
    "stage3-float32": ("zero=stage3",),
    "hpz-float32": ("zero=hpz", "zero.hpz_processes=2"),
    "offload-float32": ("zero=offload",),
    "stage2-offload-float32": ("zero=stage2", OFFLOAD),
    "stage1-offload-bfloat16": ("zero=stage1", OFFLOAD, "precision.dtype=bfloat16"),
    "stage2-offload-bfloat16": ("zero=stage2", OFFLOAD, "precision.dtype=bfloat16"),
    "stage1-bfloat16": ("zero=stage1", "precision.dtype=bfloat16"),
    "stage2-bfloat16": ("zero=stage2", "precision.dtype=bfloat16"),
    "stage3-bfloat16": ("zero=stage3", "precision.dtype=bfloat16"),
    "hpz-bfloat16": ("zero=hpz", "zero.hpz_processes=2", "precision.dtype=bfloat16"),
    "offload-bfloat16": ("zero=offload", "precision.dtype=bfloat16"),
    "single-bfloat16": (
        "zero=stage3",
        "precision.dtype=bfloat16",
        "batch.rows_per_micro_step=4",
    ),
}


def config_of(*overrides: str) -> TrainConfig:
    return tiny_config(
        "model.hidden_size=128", "model.feed_forward_size=512", "batch.rows_per_micro_step=1",
        *overrides,
    )  # fmt: skip


def build(config: TrainConfig, ranks: Ranks) -> Any:
    # DeepSpeed makes the group of a host once, and engines with other groups come before and after.
    from deepspeed.utils import groups

    groups._ZERO_PARAM_INTRA_PARALLEL_GROUP = None
    architecture = from_sizes(config.model, VOCAB_SIZE)
    return engines.build_engine(config, architecture, RandomWeights(architecture, 0), ranks)


def micro_step(engine: Any, ranks: Ranks, seed: int, is_last: bool) -> float:
    """A forward and a backward pass over other tokens on every rank."""
    engine.set_gradient_accumulation_boundary(is_last)
    generator = torch.Generator().manual_seed(10 * seed + ranks.rank)
    tokens = torch.randint(3, VOCAB_SIZE, (16,), generator=generator)
    rows = torch.tensor([4, 5, 6, 7, 12, 13])
    weights = torch.full((len(rows),), 1 / 6 / ranks.world_size)
    positions = torch.cat([torch.arange(length) for length in (9, 1, 6)])
    loss = engine(tokens, positions, (9, 1, 6), rows, tokens[rows + 1], weights)
    engine.backward(loss * ranks.world_size)
    total = loss.detach().double()
    dist.all_reduce(total)
    return float(total)


def storages() -> dict[int, torch.UntypedStorage]:
    """Of all tensors of this process, gradients included, which Python may not have seen yet."""
    gc.collect()
    found = {}
    for thing in gc.get_objects():
        try:
            is_tensor = isinstance(thing, torch.Tensor)
        except ReferenceError:
            continue
        if is_tensor and thing.device.type == "cpu":
            tensors = [thing, *([thing.grad] if thing.is_leaf and thing.grad is not None else [])]
            for tensor in tensors:
                found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
    return found


def planned_state(config: TrainConfig, world_size: int) -> tuple[int, int]:
    """(state on the GPU and host, bucket that lives on) by the plan."""
    nothing = AssumptionConfig(
        compute_frac=0.5,
        bandwidth_frac=0.5,
        fragmentation_frac=0.0,
        context_gib=0.0,
        host_memory_gb_s=1.0,
    )
    case = Case.of(
        config,
        from_sizes(config.model, VOCAB_SIZE),
        Workload(
            examples=1, tokens=1, target_tokens=1, squared_lengths=1, rows=1, steps=1, longest=None,
            vocab_size=None, source="", is_estimate=True,
        ),
        Hardware(
            gpu=Gpu(
                memory_gib=1, bfloat16_tflops=1, float32_tflops=1, memory_gb_s=1, link_gb_s=1,
                host_gb_s=1,
            ),
            nodes=world_size,
            gpus_per_node=1,
            network_gb_s=1.0,
            assume=nothing,
        ),
    )  # fmt: skip
    state = state_bytes(case)
    # Those of stage 2 are gone by the end of a micro-step.
    return state.total + state.host, 0 if config.zero.stage == 2 else bucket_bytes(case)


def measured_state(config: TrainConfig, ranks: Ranks) -> int:
    """Bytes between two micro-steps, after an update."""
    before = storages()  # kept alive, so that no address of theirs is used again
    engine = build(config, ranks)
    micro_step(engine, ranks, 0, is_last=True)
    engines.set_learning_rate(engine, 1e-3)
    engines.step(engine)
    micro_step(engine, ranks, 1, is_last=False)
    found = sum(held.nbytes() for at, held in storages().items() if at not in before)
    engine.destroy()
    return found


def curve(config: TrainConfig, ranks: Ranks) -> list[float]:
    """Loss and gradient norm of four steps of two micro-steps."""
    engine = build(config, ranks)
    found = []
    for step in range(4):
        found.append(micro_step(engine, ranks, 2 * step, is_last=False))
        found.append(micro_step(engine, ranks, 2 * step + 1, is_last=True))
        engines.set_learning_rate(engine, 1e-2)
        found.append(engines.step(engine))
    engine.destroy()
    return found


def main(out: Path) -> None:
    ranks = join(tiny_config().launch)
    result: dict[str, Any] = {"states": {}, "curves": {}}
    for name, overrides in STATES.items():
        config = config_of(*overrides)
        planned, bucket = planned_state(config, ranks.world_size)
        result["states"][name] = [measured_state(config, ranks) - bucket, planned]
    for name in ("stage3-float32", "hpz-float32", "stage3-bfloat16", "hpz-bfloat16"):
        result["curves"][name] = curve(config_of(*STATES[name]), ranks)
    (out / f"{ranks.rank}.json").write_text(json.dumps(result))
    leave()


main(Path(sys.argv[1]))
end_at_once(0)
