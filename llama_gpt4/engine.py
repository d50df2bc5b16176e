"""A DeepSpeed engine around a model: built sharded, its weights read straight into the shards."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import deepspeed
import torch
from deepspeed.utils import logger as deepspeed_logger
from llama_gpt4_kernels.operators import Operators
from llama_gpt4_kernels.selection import UnavailableError, select_operators

from llama_gpt4 import zero_state
from llama_gpt4.architecture import LlamaConfig
from llama_gpt4.config import RunConfig
from llama_gpt4.deepspeed_config import deepspeed_config
from llama_gpt4.errors import InputError
from llama_gpt4.model import Llama
from llama_gpt4.ranks import Ranks
from llama_gpt4.weights import WeightSource

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def operators(config: RunConfig, device: torch.device) -> Operators:
    """The operators that the configuration names; `InputError` where they cannot run."""
    try:
        return select_operators(config.model.kernels, config.model.attention, device)
    except UnavailableError as error:
        raise InputError(
            f"model.kernels={config.model.kernels} model.attention={config.model.attention}: "
            f"{error}; model.kernels=reference model.attention=sdpa run anywhere"
        ) from error


def build_engine(
    config: RunConfig, architecture: LlamaConfig, source: WeightSource, ranks: Ranks
) -> Any:
    """An engine around the language model, with the weights of `source` in it."""
    build = llama(config, architecture, ranks)
    return engine_of(config, build, architecture.hidden_size, source, ranks)


def llama(
    config: RunConfig, architecture: LlamaConfig, ranks: Ranks
) -> Callable[[dict[str, Any]], torch.nn.Module]:
    """What builds the language model, for `engine_of`; `InputError` where it could not run."""
    ops = operators(config, ranks.device)

    def build(settings: dict[str, Any]) -> torch.nn.Module:
        with sharded(config, settings, ranks.device):
            return Llama(architecture, ops, config.model.recompute)

    return build


def engine_of(
    config: RunConfig,
    build: Callable[[dict[str, Any]], torch.nn.Module],
    hidden_size: int,
    source: WeightSource | None,
    ranks: Ranks,
) -> Any:
    """The engine that `fit` drives, around the model that `build` makes of DeepSpeed's settings.

    Under ZeRO-3 `build` gives a sharded model, so that at most one whole parameter exists at a
    time, and only then. Its weights are those of `source`; without one it has brought them itself.
    """
    deepspeed_logger.setLevel("WARNING")
    settings = deepspeed_config(config, hidden_size, ranks.world_size)
    model = build(settings)
    if source is not None:
        for name, start, values in zero_state.local_slices(model):
            source.fill(name, start, values)
    for param in model.parameters():
        # hpZ has copied what was in the parameter before its weights were.
        if hasattr(param, "ds_secondary_tensor"):
            param.ds_secondary_tensor = None
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=_adamw(model, config), config=settings, dist_init_required=False
    )
    return engine


@contextlib.contextmanager
def sharded(config: RunConfig, settings: dict[str, Any], device: torch.device) -> Iterator[None]:
    """Parameters that are created in here have no values; under ZeRO-3 they are sharded at once."""
    # zero.Init reads the dtype from the settings; an explicit one it ignores where the accelerator
    # has no float16 (the CPU), and takes bfloat16 (DeepSpeed 0.19.8, Init._set_dtype).
    shards = (
        deepspeed.zero.Init(config_dict_or_path=settings)
        if config.zero.stage == 3
        else contextlib.nullcontext()
    )
    # Without _created_as, zero.Init would make each parameter in float32 first, then convert it.
    with _created_as(DTYPES[config.precision.dtype], device), shards:
        yield


def set_learning_rate(engine: Any, rate: float) -> None:
    for group in engine.optimizer.param_groups:
        group["lr"] = rate


def step(engine: Any) -> float:
    """Update the weights; the global gradient norm of this update, before clipping."""
    norm = None
    if engine.zero_optimization_stage() == 0 and not engine.bfloat16_enabled():
        # Only here DeepSpeed keeps the norm to itself; the reduced gradients are all at hand.
        norm = torch.nn.utils.get_total_norm([p.grad for p in engine.module.parameters()])
    engine.step()
    return float(engine.get_global_grad_norm() if norm is None else norm)


def _adamw(model: torch.nn.Module, config: RunConfig) -> torch.optim.AdamW:
    """AdamW over two groups: matrices decay, norm weights do not."""
    matrices = [p for p in model.parameters() if len(getattr(p, "ds_shape", p.shape)) > 1]
    vectors = [p for p in model.parameters() if len(getattr(p, "ds_shape", p.shape)) == 1]
    optim = config.optim
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    kind: Any = partial(torch.optim.AdamW, fused=True)
    if config.model.kernels == "fused" and not config.zero.offload_optimizer:
        from llama_gpt4_kernels.adamw_triton import AdamW as kind
    return kind(
        groups,
        lr=optim.lr,
        betas=(optim.betas[0], optim.betas[1]),
        eps=optim.eps,
        weight_decay=optim.weight_decay,
    )


@contextlib.contextmanager
def _created_as(dtype: torch.dtype, device: torch.device) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)
