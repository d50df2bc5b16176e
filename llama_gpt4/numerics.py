"""Whether faster float32 products are exact enough on this machine."""

import torch

from llama_gpt4.ranks import Ranks, sum_over_ranks

EXACT = 1e-5
"""Largest relative error that still counts as float32; bfloat16 products err by about 1e-3."""


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
