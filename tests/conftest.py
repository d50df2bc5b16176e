"""Triton kernels run on CPU tensors in these tests, by Triton's interpreter.

Triton reads the variable once, when it is imported, so this stands before every import of ours.
`TRITON_INTERPRET=0 pytest tests/kernels` compiles the kernels and runs them on a CUDA device.
"""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")

import numpy as np
import pytest
import torch
import triton.language as tl
from hypothesis import settings
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

# Every run draws the same examples, so that what passed here passes elsewhere; to draw others:
# `pytest --hypothesis-profile=default`.
settings.load_profile("ci")

_cast = InterpreterBuilder.cast_impl


def _cast_to_nearest(
    self: InterpreterBuilder, source: TensorHandle, dtype: tl.dtype
) -> TensorHandle:
    """Round fp32 to the nearest bf16 as every GPU does; the interpreter of 3.6 truncates."""
    if source.dtype.scalar != tl.float32 or dtype.scalar != tl.bfloat16:
        return _cast(self, source, dtype)
    rounded = torch.from_numpy(np.array(source.data)).to(torch.bfloat16)
    return TensorHandle(rounded.view(torch.uint16).numpy(), tl.bfloat16)


InterpreterBuilder.cast_impl = _cast_to_nearest


def pytest_configure(config: pytest.Config) -> None:
    # Thousands, from `range` over a tensor in the interpreter; an error from NumPy 2.4 on.
    config.addinivalue_line("filterwarnings", "ignore:Conversion of an array with ndim > 0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
