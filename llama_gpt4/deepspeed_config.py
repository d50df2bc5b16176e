"""The complete DeepSpeed configuration of a run: the only author of DeepSpeed's JSON."""

from typing import Any

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import InputError


def deepspeed_config(config: RunConfig, hidden_size: int, world_size: int) -> dict[str, Any]:
    """Everything that DeepSpeed is told; nothing is "auto", nothing is said twice.

    `hidden_size` is D, which sets the size of ZeRO-3's buckets. Micro-steps are counted by our
    loop, since the last window of an epoch may have fewer: DeepSpeed sees an accumulation of 1 and
    is told at each micro-step whether it is the last. Raises `InputError` where the user's
    `zero.deepspeed` contradicts a derived field.
    """
    _require_whole_groups(config.zero.hpz_processes, world_size)
    rows = config.rows_per_micro_step
    derived: dict[str, Any] = {
        "train_batch_size": rows * world_size,
        "train_micro_batch_size_per_gpu": rows,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.optim.max_grad_norm,
        "bf16": {"enabled": config.precision.dtype == "bfloat16"},
        "fp16": {"enabled": False},
        "zero_optimization": _zero(config, hidden_size),
        # Our optimizer is torch's AdamW: it needs no compiler, and ZeRO only asks for flat tensors.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31 - 1,
        "wall_clock_breakdown": False,
    }
    if config.precision.dtype == "bfloat16" and config.zero.stage > 0:
        # In one micro-step nothing is added up: gradients stay as the backward pass made them, and
        # ZeRO-3 keeps 16 bytes a parameter instead of 18.
        is_single = config.zero.stage == 3 and config.rows_per_step <= rows * world_size
        derived["data_types"] = {"grad_accum_dtype": "bf16" if is_single else "fp32"}
    return _merge(derived, config.zero.deepspeed, "zero.deepspeed")


def _zero(config: RunConfig, hidden_size: int) -> dict[str, Any]:
    zero = config.zero
    section: dict[str, Any] = {"stage": zero.stage}
    if zero.stage >= 1:
        section |= {
            "contiguous_gradients": True,
            "overlap_comm": zero.stage >= 2,
            "reduce_scatter": True,
            "reduce_bucket_size": 2**25,
            "allgather_bucket_size": 2**28,
        }
    if zero.stage == 3:
        # One bucket holds one of a layer's square matrices, as Hugging Face's rule has it; a norm
        # weight is never worth sharding.
        section |= {
            "reduce_bucket_size": max(hidden_size * hidden_size, 2**20),
            "stage3_prefetch_bucket_size": max(int(0.9 * hidden_size * hidden_size), 2**20),
            "stage3_param_persistence_threshold": 10 * hidden_size,
            "stage3_max_live_parameters": 10**9,
            "stage3_max_reuse_distance": 10**9,
            "sub_group_size": 10**9,
            "stage3_gather_16bit_weights_on_model_save": False,
            "zero_hpz_partition_size": zero.hpz_processes,
            # Lets go of gathered weights after the forward pass; model.Linear knows where not.
            "memory_efficient_linear": True,
        }
    if zero.offload_optimizer:
        section["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if zero.offload_parameters:
        section["offload_param"] = {"device": "cpu", "pin_memory": True}
    return section


def _require_whole_groups(hpz_processes: int, world_size: int) -> None:
    if world_size % hpz_processes:
        raise InputError(
            f"zero.hpz_processes={hpz_processes} does not divide the {world_size} processes: "
            "give it the processes of one host"
        )


def _merge(derived: dict[str, Any], extra: dict[str, Any], path: str) -> dict[str, Any]:
    merged = dict(derived)
    for key, value in extra.items():
        here = f"{path}.{key}"
        if key not in derived:
            merged[key] = value
        elif isinstance(derived[key], dict) and isinstance(value, dict):
            merged[key] = _merge(derived[key], value, here)
        elif derived[key] != value:
            raise InputError(
                f"{here}={value} contradicts {derived[key]}, which follows from the rest of the "
                "configuration: drop it, and change the key that it follows from"
            )
    return merged
