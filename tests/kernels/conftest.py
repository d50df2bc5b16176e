import os
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _device(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tensors of the Triton tests lie on the GPU where kernels are compiled, not interpreted."""
    if request.path.stem.endswith("_triton") and os.environ["TRITON_INTERPRET"] == "0":
        with torch.device("cuda"):
            yield
    else:
        yield
