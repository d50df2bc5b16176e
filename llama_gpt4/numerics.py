"""How a process computes: seed, determinism, and faster float32 products where they are exact."""

import os

import torch

from llama_gpt4.config import RunConfig
from llama_gpt4.engine import DTYPES
from llama_gpt4.errors import InputError
from llama_gpt4.ranks import Ranks, sum_over_ranks

EXACT = 1e-5
"""Largest relative error that still counts as float32; bfloat16 products err by about 1e-3."""


def fix_numerics(config: RunConfig, ranks: Ranks) -> None:
    """Seed, determinism and precision of this process, as the configuration has them."""
    if (
        DTYPES[config.precision.dtype] is torch.bfloat16
        and ranks.device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        name = torch.cuda.get_device_name(ranks.device)
        raise InputError(f"precision.dtype=bfloat16, but {name} has none: use float32")
    torch.manual_seed(config.seed)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if config.precision.float32_matmul == "medium" and medium_is_exact(ranks):
        torch.set_float32_matmul_precision("medium")


def medium_is_exact(ranks: Ranks) -> bool:
    """Whether `float32_matmul_precision=medium` keeps float32's accuracy on every rank.

    On many CPUs it only chooses a faster library; where it means bfloat16 products (AMX, tensor
    cores) the self-test fails and the precision stays as it was.
    """
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(64, 4096, generator=generator)
    right = torch.randn(4096, 64, generator=generator)
    truth = left.double() @ right.double()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        product = (left.to(ranks.device) @ right.to(ranks.device)).cpu().double()
    finally:
        torch.set_float32_matmul_precision(before)
    error = float((product - truth).abs().max() / truth.abs().max())
    return sum_over_ranks([float(error > EXACT)], ranks)[0] == 0
