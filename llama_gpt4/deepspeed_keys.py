"""Which keys DeepSpeed 0.19 has where users add to its configuration: it ignores a top-level key
that it does not know, so that a misspelt one would change nothing, without a word.

DeepSpeed has no list of them that is read without importing torch; a test compares this one with
what it reads. Second names of a key are left out: they would slip past the check on contradictions.
"""

import difflib
from typing import Any

from llama_gpt4.errors import InputError

_TOP = """
activation_checkpointing aio autotuning bf16 checkpoint comet comms_logger communication_data_type
compile csv_monitor data_efficiency data_types dataloader_drop_last datastates_ckpt
disable_allgather disable_python_gc dump_state expert_parallel flops_profiler fp16
gradient_accumulation_steps gradient_allreduce_op gradient_clipping gradient_predivide_factor
hybrid_engine log_level managed_gradient_accumulation memory_breakdown optimizer pipeline
prescale_gradients scheduler seq_parallel_communication_data_type steps_per_print tensor_parallel
tensorboard timers torch_autocast train_batch_size train_micro_batch_size_per_gpu
use_data_before_expert_parallelism vocabulary_size wall_clock_breakdown wandb weight_quantization
zero_allow_untested_optimizer zero_force_ds_cpu_optimizer zero_optimization
"""
_ZERO = """
allgather_bucket_size allgather_partitions compute_grad_norm contiguous_gradients
elastic_checkpoint enable_sanity_checks ignore_unused_parameters leaf_module legacy_stage1
load_from_fp32_weights log_trace_cache_warnings memory_efficient_linear offload_optimizer
offload_param overlap_comm override_module_apply parameter_alignment pipeline_loading_checkpoint
reduce_bucket_size reduce_scatter round_robin_gradients save_muon_momentum_buffer_in_memory stage
stage3_allgather_sequential stage3_gather_16bit_weights_on_model_save stage3_max_live_parameters
stage3_max_reuse_distance stage3_model_persistence_threshold stage3_module_granularity_threshold
stage3_param_persistence_threshold stage3_prefetch_bucket_size
stage3_use_all_reduce_for_fetch_params sub_group_size use_multi_rank_bucket_allreduce zenflow
zero_hpz_partition_size zero_quantized_gradients zero_quantized_nontrainable_weights
zero_quantized_weights
"""
KEYS: dict[str, frozenset[str]] = {
    "": frozenset(_TOP.split()),
    "zero_optimization": frozenset(_ZERO.split()),
}
"""By section. What is in the other sections DeepSpeed checks itself, or not at all."""


def require_known(settings: dict[str, Any], section: str = "") -> None:
    """Raise `InputError` at the first key of `zero.deepspeed` that DeepSpeed would not read."""
    for key, value in settings.items():
        here = f"{section}.{key}" if section else str(key)
        if section in KEYS and key not in KEYS[section]:
            raise InputError(
                f"zero.deepspeed.{here} is not a key of DeepSpeed's configuration{_nearest(here)}"
            )
        if isinstance(value, dict):
            require_known(value, here)


def _nearest(key: str) -> str:
    known = [f"{section}.{name}".lstrip(".") for section in KEYS for name in sorted(KEYS[section])]
    last = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    found = (last or difflib.get_close_matches(key, known, n=1))[:1]
    return f"; did you mean zero.deepspeed.{found[0]}?" if found else ""
