"""Faster float32 products are used only where they are float32."""

import torch

from llama_gpt4 import numerics
from llama_gpt4.config import LaunchConfig
from llama_gpt4.ranks import join, leave


def test_the_self_test_leaves_the_precision_as_it_was_and_tells_the_truth() -> None:
    ranks = join(LaunchConfig(processes=1, device="cpu", timeout_minutes=1, hang_seconds=60))
    try:
        before = torch.get_float32_matmul_precision()
        exact = numerics.medium_is_exact(ranks)
        assert torch.get_float32_matmul_precision() == before
        left, right = torch.randn(32, 2048), torch.randn(2048, 32)
        torch.set_float32_matmul_precision("medium")
        error = (left @ right).double() - left.double() @ right.double()
        torch.set_float32_matmul_precision(before)
        assert exact == bool(error.abs().max() < 1e-3)
    finally:
        leave()
