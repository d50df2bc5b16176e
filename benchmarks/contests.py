"""The operators as contests: the same inputs and gradients for us and for every rival.

A contestant maps the leaves of its contest to a tuple of outputs. Rivals are called through their
public functions, in the layout that they are made for; turning our layout into theirs is a view.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from llama_gpt4_kernels.fused import FUSED
from llama_gpt4_kernels.rope import inverse_frequencies
from torch import Tensor

Contestant = Callable[..., tuple[Tensor, ...]]
EPS = 1e-6
SMALL_ROWS = (512, 2048)
"""Sizes that torch.compile is not asked for: a lent machine has no time to compile for each."""
OURS, EAGER = "ours", "eager"


@dataclass(frozen=True)
class Contest:
    """One operator at one size."""

    operator: str
    shape: str
    leaves: list[Tensor]
    seeds: list[Tensor]
    """The gradient that comes in for each output."""
    contestants: dict[str, Contestant]
    truth: Contestant
    """For leaves in float64."""
    cost: dict[str, float]
    """What each pass has to do at least: bytes moved, or FLOPs."""
    is_product: bool = False
    """Whether cost is in FLOPs."""
    absent: dict[str, str] = field(default_factory=dict)
    """Rivals that cannot take part, and why."""


class Rivals:
    """Collects those contestants whose libraries are here, and why others are not."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.found: dict[str, Contestant] = {}
        self.absent: dict[str, str] = {}

    def add(
        self,
        name: str,
        module: str,
        make: Callable[[Any], Contestant],
        needs_gpu: bool = True,
        attribute: str | None = None,
    ) -> None:
        """`make` gets the imported module and returns the contestant."""
        if needs_gpu and self._device.type != "cuda":
            self.absent[name] = "needs a GPU"
            return
        try:
            library = importlib.import_module(module)
        # Libraries of others break on import in ways of their own; the contest goes on without.
        except Exception as error:
            self.absent[name] = f"{type(error).__name__}: {error}".splitlines()[0][:120]
            return
        if attribute is not None and not hasattr(library, attribute):
            self.absent[name] = f"{module} has no {attribute}"
            return
        self.found[name] = make(library)

    def add_compiled(self, contestant: Contestant, rows: int) -> None:
        if rows in SMALL_ROWS:
            self.absent["compile"] = f"not at T={rows}: compiling for a size takes seconds"
            return
        torch._dynamo.reset()  # one size after another, none made dynamic
        backend = "inductor" if self._device.type == "cuda" else "aot_eager"
        self.found["compile"] = torch.compile(contestant, dynamic=False, backend=backend)


def _randn(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, device=device, dtype=dtype)


# Residual sum and RMSNorm ---------------------------------------------------------------------


def _hugging_face_norm(hidden: Tensor, delta: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = hidden + delta
    wide = total.to(torch.promote_types(total.dtype, torch.float32))
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
    return total, weight * wide.to(total.dtype)


def norm(rows: int, size: int, device: torch.device, dtype: torch.dtype) -> Contest:
    """Residual sum and RMSNorm of `rows` rows of `size` values."""
    rivals = Rivals(device)
    liger = "liger_kernel.transformers.functional"

    def liger_patch(module: Any, hidden: Tensor, delta: Tensor, weight: Tensor) -> Any:
        total = hidden + delta
        return total, module.liger_rms_norm(total, weight, EPS)

    def liger_fused(module: Any, hidden: Tensor, delta: Tensor, weight: Tensor) -> Any:
        return module.liger_fused_add_rms_norm(delta, hidden, weight, EPS)[::-1]

    def quack(module: Any, hidden: Tensor, delta: Tensor, weight: Tensor) -> Any:
        normed, total = module.rmsnorm(delta, weight, residual=hidden, eps=EPS, prenorm=True)
        return total, normed

    def torch_norm(hidden: Tensor, delta: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        total = hidden + delta
        return total, F.rms_norm(total, weight.shape, weight, EPS)

    rivals.add("liger", liger, lambda module: partial(liger_patch, module))
    rivals.add("liger add+norm", liger, lambda module: partial(liger_fused, module))
    rivals.add("quack", "quack", lambda module: partial(quack, module), attribute="rmsnorm")
    rivals.add_compiled(_hugging_face_norm, rows)
    ours: Contestant = lambda hidden, delta, weight: FUSED.add_rms_norm(hidden, delta, weight, EPS)  # noqa: E731
    moved = rows * size * dtype.itemsize
    return Contest(
        operator="add_rms_norm",
        shape=f"T={rows} D={size}",
        leaves=[_randn(shape, device, dtype) for shape in ((rows, size), (rows, size), (size,))],
        seeds=[_randn((rows, size), device, dtype) for _ in range(2)],
        contestants={
            OURS: ours,
            EAGER: _hugging_face_norm,
            "F.rms_norm": torch_norm,
            **rivals.found,
        },
        truth=_hugging_face_norm,
        cost={"forward": 4 * moved, "backward": 4 * moved, "full": 8 * moved},
        absent=rivals.absent,
    )


# Rotary positions -----------------------------------------------------------------------------


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = heads.chunk(2, -1)
    return heads * cos + torch.cat((-b, a), -1) * sin


def rope(rows: int, size: int, device: torch.device, dtype: torch.dtype) -> Contest:
    """RoPE of queries and keys, `size` values of each for each of `rows` tokens."""
    rivals = Rivals(device)
    head_size = min(128, size // 2)
    positions = torch.arange(rows, device=device) % 509  # packed documents
    frequencies = inverse_frequencies(head_size, 10000.0, None, device)
    tables = FUSED.rope_tables(positions, frequencies)
    angles = (positions.unsqueeze(-1) * frequencies).repeat(1, 2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)  # (T, K), as in transformers
    exact = (positions.unsqueeze(-1) * frequencies.double()).repeat(1, 2)

    def in_heads(q: Tensor, k: Tensor) -> list[Tensor]:
        return [x.unflatten(-1, (-1, head_size)) for x in (q, k)]

    def ours(q: Tensor, k: Tensor) -> Any:
        return FUSED.rope(*in_heads(q, k), *tables)

    def eager(q: Tensor, k: Tensor) -> Any:
        n = q.shape[0]
        return tuple(_rotated(x, cos[:n, None], sin[:n, None]) for x in in_heads(q, k))

    def truth(q: Tensor, k: Tensor) -> Any:
        c, s = exact.cos().unsqueeze(1), exact.sin().unsqueeze(1)
        return tuple(_rotated(x, c, s) for x in in_heads(q, k))

    def liger(module: Any, q: Tensor, k: Tensor) -> Any:
        # (1, H, T, K), as transformers has it.
        q, k = (x.transpose(0, 1).unsqueeze(0) for x in in_heads(q, k))
        turned = module.liger_rope(q, k, cos.unsqueeze(0), sin.unsqueeze(0))
        return tuple(x.squeeze(0).transpose(0, 1) for x in turned)

    functional = "liger_kernel.transformers.functional"
    rivals.add("liger", functional, lambda module: partial(liger, module))
    rivals.add_compiled(eager, rows)
    moved = 4 * rows * size * dtype.itemsize + rows * head_size * 4
    shape = (rows, size // head_size, head_size)
    return Contest(
        operator="rope",
        shape=f"T={rows} D={size}",
        leaves=[_randn((rows, size), device, dtype) for _ in range(2)],
        seeds=[_randn(shape, device, dtype) for _ in range(2)],
        contestants={OURS: ours, EAGER: eager, **rivals.found},
        truth=truth,
        cost={"forward": moved, "backward": moved, "full": 2 * moved},
        absent=rivals.absent,
    )


# SwiGLU ---------------------------------------------------------------------------------------


def _hugging_face_swiglu(gate: Tensor, up: Tensor) -> tuple[Tensor]:
    return (F.silu(gate) * up,)


def swiglu(rows: int, size: int, device: torch.device, dtype: torch.dtype) -> Contest:
    """SwiGLU of `rows` rows of `size` values."""
    rivals = Rivals(device)
    rivals.add(
        "liger",
        "liger_kernel.transformers.functional",
        lambda module: lambda gate, up: (module.liger_swiglu(gate, up),),
    )
    rivals.add_compiled(_hugging_face_swiglu, rows)
    moved = rows * size * dtype.itemsize
    return Contest(
        operator="swiglu",
        shape=f"T={rows} F={size}",
        leaves=[_randn((rows, size), device, dtype) for _ in range(2)],
        seeds=[_randn((rows, size), device, dtype)],
        contestants={
            OURS: lambda gate, up: (FUSED.swiglu(gate, up),),
            EAGER: _hugging_face_swiglu,
            **rivals.found,
        },
        truth=_hugging_face_swiglu,
        cost={"forward": 3 * moved, "backward": 5 * moved, "full": 8 * moved},
        absent=rivals.absent,
    )
