"""The operators in Triton: CUDA devices, or its interpreter on a CPU (`TRITON_INTERPRET=1`)."""

from llama_gpt4_kernels.attention import attention, plan_attention
from llama_gpt4_kernels.linear_cross_entropy_triton import (
    linear_cross_entropy,
    token_log_probabilities,
)
from llama_gpt4_kernels.operators import Operators
from llama_gpt4_kernels.rms_norm_triton import add_rms_norm
from llama_gpt4_kernels.rope_triton import rope, rope_tables
from llama_gpt4_kernels.swiglu_triton import swiglu

FUSED = Operators(
    add_rms_norm=add_rms_norm,
    rope_tables=rope_tables,
    rope=rope,
    swiglu=swiglu,
    plan_attention=plan_attention,
    attention=attention,
    linear_cross_entropy=linear_cross_entropy,
    token_log_probabilities=token_log_probabilities,
)
