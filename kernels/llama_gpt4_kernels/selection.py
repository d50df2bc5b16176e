"""Which operators run is decided here, once, when a model is built; nothing falls back."""

import importlib.util
import os
from dataclasses import replace

import torch

from llama_gpt4_kernels import packed_attention
from llama_gpt4_kernels.operators import Operators
from llama_gpt4_kernels.reference import REFERENCE


class UnavailableError(RuntimeError):
    """What was asked for cannot run here; the text says why."""


def select_operators(kernels: str, attention: str, device: torch.device) -> Operators:
    """`kernels` is `fused` or `reference`, `attention` is `sdpa` or a name in `packed_attention`.

    Raises `UnavailableError` where one of them cannot run on `device`.
    """
    operators = _fused(device) if kernels == "fused" else REFERENCE
    if attention == "sdpa":
        return operators
    if device.type != "cuda":
        raise UnavailableError(f"attention {attention} needs a CUDA device, not {device.type}")
    try:
        attend = packed_attention.attention_of(attention)
    except ImportError as error:
        raise UnavailableError(f"attention {attention} is not installed ({error})") from error
    return replace(operators, plan_attention=packed_attention.plan_attention, attention=attend)


def _fused(device: torch.device) -> Operators:
    if importlib.util.find_spec("triton") is None:
        raise UnavailableError("fused kernels need Triton, which is not installed")
    # Triton reads the variable when it is imported, and then interprets kernels on any device.
    is_interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not is_interpreted:
        raise UnavailableError(f"fused kernels need a CUDA device, not {device.type}")
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        name = torch.cuda.get_device_name(device)
        raise UnavailableError(f"fused kernels need compute capability 8.0, {name} has less")
    from llama_gpt4_kernels.fused import FUSED

    return FUSED
