"""The operators that a model is built from; a set is chosen once and then called directly."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class PlanAttention(Protocol):
    def __call__(
        self,
        document_lengths: tuple[int, ...],
        device: torch.device,
        prefixes: tuple[range, ...] = (),
    ) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Operators:
    """One implementation of each operator. Shapes are told where `reference` defines them."""

    add_rms_norm: Callable[[Tensor, Tensor | None, Tensor, float], tuple[Tensor, Tensor]]
    rope_tables: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    rope: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    swiglu: Callable[[Tensor, Tensor], Tensor]
    plan_attention: PlanAttention
    attention: Callable[[Tensor, Tensor, Tensor, Any], Tensor]
    """The last argument is what the set's own `plan_attention` returned."""
    linear_cross_entropy: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    token_log_probabilities: Callable[[Tensor, Tensor, Tensor], Tensor]
