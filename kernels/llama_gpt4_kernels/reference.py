"""The operators in plain PyTorch: any device, any floating dtype."""

from llama_gpt4_kernels.attention import attention, plan_attention
from llama_gpt4_kernels.linear_cross_entropy import (
    linear_cross_entropy,
    token_log_probabilities,
)
from llama_gpt4_kernels.operators import Operators
from llama_gpt4_kernels.rms_norm import add_rms_norm
from llama_gpt4_kernels.rope import rope, rope_tables
from llama_gpt4_kernels.swiglu import swiglu

REFERENCE = Operators(
    add_rms_norm=add_rms_norm,
    rope_tables=rope_tables,
    rope=rope,
    swiglu=swiglu,
    plan_attention=plan_attention,
    attention=attention,
    linear_cross_entropy=linear_cross_entropy,
    token_log_probabilities=token_log_probabilities,
)
