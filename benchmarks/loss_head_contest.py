"""The contest of loss heads: the mean loss of tokens of which some have no target."""

import importlib
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from contests import EAGER, OURS, Contest, Rivals
from llama_gpt4_kernels.fused import FUSED
from torch import Tensor

IGNORED = -100


class LossHeads:
    """Everybody's loss head for the same targets. The collator knows on the host which tokens have
    one, so ours is told their places; dropping the others is part of its time."""

    def __init__(self, rows: int, vocab_size: int, masked: float, device: torch.device) -> None:
        labels = torch.randint(vocab_size, (rows,), device=device)
        labels[torch.randperm(rows, device=device)[: int(masked * rows)]] = IGNORED
        self.labels, self.places = labels, (labels != IGNORED).nonzero().squeeze(1)
        self.targets = labels[self.places]
        n = len(self.places)
        self.weights = torch.full((n,), 1 / n, device=device)

    def ours(self, hidden: Tensor, weight: Tensor) -> tuple[Tensor]:
        kept = hidden.index_select(0, self.places)
        return (FUSED.linear_cross_entropy(kept, weight, self.targets, self.weights),)

    def eager(self, hidden: Tensor, weight: Tensor) -> tuple[Tensor]:
        logits = F.linear(hidden, weight)
        wide = torch.promote_types(logits.dtype, torch.float32)
        return (F.cross_entropy(logits.to(wide), self.labels),)

    def functional(self, module: Any, hidden: Tensor, weight: Tensor) -> tuple[Tensor]:
        made = importlib.import_module("torch.nn.modules.linear_cross_entropy_options")
        options = made.LinearCrossEntropyOptions()
        call = partial(module.linear_cross_entropy, ignore_index=IGNORED, options=options)
        return (call(hidden, weight, self.labels),)

    def liger(self, module: Any, hidden: Tensor, weight: Tensor) -> tuple[Tensor]:
        return (module.liger_fused_linear_cross_entropy(hidden, weight, self.labels),)

    def trl(self, module: Any, hidden: Tensor, weight: Tensor) -> tuple[Tensor]:
        mask = self.labels != IGNORED
        log_probabilities = module.ChunkedLogProbFunction.apply(
            hidden[mask], weight, None, self.labels[mask], 1.0, 32768, None, 1.0, ()
        )[0]
        return (-log_probabilities.mean(),)

    def quack(self, module: Any, hidden: Tensor, weight: Tensor) -> tuple[Tensor]:
        call = partial(module.chunked_linear_cross_entropy, ignore_index=IGNORED, reduction="mean")
        return (call(hidden, weight, self.labels),)

    def cce(self, module: Any, hidden: Tensor, weight: Tensor) -> tuple[Tensor]:
        return (module.linear_cross_entropy(hidden, weight, self.labels),)


def loss_head(
    rows: int,
    size: int,
    vocab_size: int,
    masked: float,
    device: torch.device,
    dtype: torch.dtype,
) -> Contest:
    """Loss of `rows` tokens of `size` values, of which the share `masked` has no target."""
    heads, rivals = LossHeads(rows, vocab_size, masked, device), Rivals(device)
    rivals.add(
        "liger",
        "liger_kernel.transformers.functional",
        lambda module: partial(heads.liger, module),
    )
    rivals.add(
        "F.linear_cross_entropy",
        "torch.nn.functional",
        lambda module: partial(heads.functional, module),
        needs_gpu=False,
        attribute="linear_cross_entropy",
    )
    rivals.add("trl", "trl.kernels.chunked_logprob", lambda module: partial(heads.trl, module))
    rivals.add("quack", "quack.linear_cross_entropy", lambda module: partial(heads.quack, module))
    rivals.add("cce", "cut_cross_entropy", lambda module: partial(heads.cce, module))
    rivals.add_compiled(heads.eager, rows)
    product = 2.0 * len(heads.places) * size * vocab_size
    return Contest(
        operator="loss head",
        shape=f"T={rows} D={size} V={vocab_size} masked={masked:g}",
        leaves=[
            torch.randn((rows, size), device=device, dtype=dtype),
            torch.randn((vocab_size, size), device=device, dtype=dtype).mul_(size**-0.5),
        ],
        seeds=[torch.ones((), device=device)],
        contestants={OURS: heads.ours, EAGER: heads.eager, **rivals.found},
        truth=heads.eager,
        cost={"forward": product, "full": 3 * product},
        is_product=True,
        absent=rivals.absent,
    )
