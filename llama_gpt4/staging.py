"""This rank's part of the training state, copied aside in host memory, so that training goes on
while the copy is written.

There is one copy at a time: 12 bytes (float32 master weight and two moments) for each element that
the rank holds, which is 12 N / W for N parameters over W processes under ZeRO-1, 2 and 3. Its pages
are touched when it is made: a first touch costs several times the copying. On a GPU's host they are
locked as well, so that the GPU writes them by itself.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llama_gpt4 import zero_state
from llama_gpt4.safetensors_file import Outgoing
from llama_gpt4.zero_state import Fragment, Range

KINDS = ("master", *zero_state.MOMENTS)


class Staging:
    """The copy; `ranges` are the parts of the parameters that this rank holds."""

    def __init__(self, ranges: list[Range], device: torch.device) -> None:
        self.ranges = ranges
        self.n_taken = 0
        """Tensors that a writer has begun with, ever: a sign of life."""
        n = sum(part.n for part in ranges)
        self._memory = torch.empty(len(KINDS) * n, dtype=torch.float32).fill_(0)
        self._views = self._memory.split([part.n for part in ranges for _ in KINDS])
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self._stream is not None and n:
            # torch's own pinned memory is rounded up to a power of two.
            cudart = torch.cuda.cudart()
            _require_success(cudart.cudaHostRegister(self._memory.data_ptr(), self.n_bytes, 0))

    @property
    def n_bytes(self) -> int:
        """Of host memory."""
        return self._memory.nbytes

    def close(self) -> None:
        """Give the GPU's lock on its pages back; the memory goes with the object."""
        if self._stream is not None and self.n_bytes:
            _require_success(torch.cuda.cudart().cudaHostUnregister(self._memory.data_ptr()))

    def mark(self) -> Any:
        """A point in the GPU's work, for `fill`; None without a GPU."""
        return None if self._stream is None else torch.cuda.current_stream().record_event()

    def fill(self, fragments: list[Fragment], after: Any) -> None:
        """Copy `fragments`, which are those of `ranges`, as they are once the GPU has come to
        `after`; from a thread beside the one that trains."""
        sources = [source for fragment in fragments for source in _by_kind(fragment)]
        with self._beside_the_training(after):
            for view, source in zip(self._views, sources, strict=True):
                if source.is_cuda:
                    view.copy_(source, non_blocking=True)
                else:  # numpy: no GIL, and no second team of OpenMP threads
                    np.copyto(view.numpy(), source.detach().numpy())

    @contextlib.contextmanager
    def _beside_the_training(self, after: Any) -> Iterator[None]:
        if self._stream is None:
            yield
            return
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(after)
            yield
        self._stream.synchronize()

    def tensors(self) -> list[Outgoing]:
        """What a checkpoint's file of this rank holds."""
        names = [(part, kind) for part in self.ranges for kind in KINDS]
        return [
            Outgoing(
                f"{part.name}:{part.start}:{kind}", torch.float32, (part.n,), self._counted(view)
            )
            for (part, kind), view in zip(names, self._views, strict=True)
        ]

    def _counted(self, view: Tensor) -> Iterator[Tensor]:
        self.n_taken += 1
        yield view


def _by_kind(fragment: Fragment) -> Iterator[Tensor]:
    yield fragment.master
    for kind in zero_state.MOMENTS:
        yield fragment.moments[kind]


def _require_success(error: Any) -> None:
    if int(error):
        raise RuntimeError(f"the CUDA runtime locks no host memory: {error}")
