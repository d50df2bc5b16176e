"""The loss head: negative log-likelihood of targets under softmax(hidden W^T), in chunks of rows.

With P = softmax(logits) - onehot(targets), each row times its weight, the weighted sum has
    d_hidden = P W        d_W = P^T hidden
Logits exist one chunk at a time, and P takes their place: a *row kernel* turns a chunk of logits
into likelihoods and P, everything around it is the same for every implementation of it. Row
statistics are fp32; d_W is summed over the chunks in fp32 and rounded once (summed in bf16, its
error would grow with the chunks). The caller drops masked positions: it passes the rows that have a
target. Nothing here waits for the device.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CHUNK_BYTES = 64 * 2**20
"""Largest buffer of logits."""
CUDA_CHUNK_BYTES = 512 * 2**20
"""The same on a GPU: 8,192 rows of 32,000 in bf16, so that most micro-batches are one chunk."""
CACHE_BYTES = 2 * 2**20
"""Logits that `softmax_rows` works on at a time on a CPU: they stay in its cache."""
ROW_ALIGNMENT = 64
"""Rows of logits begin at multiples of this many elements, for full-width loads at any V."""


class RowKernel(Protocol):
    def __call__(
        self, logits: Tensor, targets: Tensor, weights: Tensor | None, nll: Tensor
    ) -> None:
        """`logits` (n, V) and `targets` (n,) -> `nll` (n,); with `weights` (n,) logits become P.

        Rows of logits lie `logits.stride(0)` apart, a multiple of `ROW_ALIGNMENT`. All of them,
        what is beyond V included, may be overwritten. `nll` and `weights` are at least fp32.
        """


def softmax_rows(logits: Tensor, targets: Tensor, weights: Tensor | None, nll: Tensor) -> None:
    """The row kernel in plain PyTorch."""
    vocab_size, wide = logits.shape[1], nll.dtype
    budget = CHUNK_BYTES if logits.is_cuda else CACHE_BYTES
    n_rows = max(1, budget // (wide.itemsize * vocab_size))
    for start in range(0, len(logits), n_rows):
        rows = slice(start, start + n_rows)
        z = logits[rows].to(wide)  # itself, where it is wide already
        columns = targets[rows].unsqueeze(1)
        above_target = z.amax(1, keepdim=True).sub_(z.gather(1, columns))
        torch.softmax(z, 1, out=z)
        # The largest probability is exp(0) / sum, and at least 1/V: its logarithm is always safe.
        log_largest = z.amax(1, keepdim=True).log_()
        torch.sub(above_target, log_largest, out=nll[rows].unsqueeze(1))
        if weights is None:
            continue
        z.scatter_(1, columns, z.gather(1, columns).sub_(1))
        z.mul_(weights[rows].unsqueeze(1))
        if logits.dtype != wide:
            logits[rows] = z


def _chunk_rows(n_rows: int, row_bytes: int, budget: int) -> int:
    """Rows of the largest chunk when `n_rows` are split evenly within `budget` bytes."""
    most = max(1, budget // row_bytes)
    n_chunks = -(-n_rows // most)
    return -(-n_rows // n_chunks) if n_chunks else 0


def _in_chunks(
    row_kernel: RowKernel, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """nll (M,), and with `weights` (M,) the gradients of their product's sum by both matrices."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    n_rows, vocab_size = len(hidden), len(weight)
    row_stride = -(-vocab_size // ROW_ALIGNMENT) * ROW_ALIGNMENT
    budget = CUDA_CHUNK_BYTES if hidden.is_cuda else CHUNK_BYTES
    chunk = _chunk_rows(n_rows, row_stride * hidden.itemsize, budget)
    buffer = hidden.new_empty(chunk, row_stride)
    nll = hidden.new_empty(n_rows, dtype=wide)
    d_hidden = d_weight = None
    if weights is not None:
        d_hidden = hidden.new_empty(hidden.shape)
        sum_dtype = weight.dtype if n_rows <= chunk else wide
        d_weight = weight.new_empty(weight.shape, dtype=sum_dtype)
    for start in range(0, n_rows, chunk or 1):
        rows = slice(start, min(start + chunk, n_rows))
        logits = buffer[: rows.stop - start, :vocab_size]
        torch.mm(hidden[rows], weight.t(), out=logits)
        row_kernel(logits, targets[rows], None if weights is None else weights[rows], nll[rows])
        if d_hidden is not None and d_weight is not None:
            torch.mm(logits, weight, out=d_hidden[rows])
            _add_product(d_weight, logits.t(), hidden[rows], is_first=start == 0)
    if d_weight is not None:
        d_weight = d_weight.to(weight.dtype) if n_rows else d_weight.zero_()
    return nll, d_hidden, d_weight


def _add_product(total: Tensor, left: Tensor, right: Tensor, is_first: bool) -> None:
    """`total` += left @ right, or = where `is_first`; `total` may be wider than both."""
    beta = 0 if is_first else 1
    if total.dtype == left.dtype:
        torch.addmm(total, left, right, beta=beta, out=total)
    elif total.is_cuda:
        # cuBLAS sums in fp32 anyhow: told so, it also keeps what it has summed.
        torch.addmm(total, left, right, beta=beta, out_dtype=total.dtype, out=total)
    elif is_first:
        total.copy_(left @ right)
    else:
        total.add_(left @ right)


class _WeightedLoss(torch.autograd.Function):
    """Computes its gradients in the forward pass, where the logits are at hand: nothing is done
    twice, and only the two finished gradients are kept."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        row_kernel: RowKernel,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        weights: Tensor,
        with_gradient: bool,
    ) -> Tensor:
        wanted = weights if with_gradient else None
        nll, d_hidden, d_weight = _in_chunks(row_kernel, hidden, weight, targets, wanted)
        if d_hidden is not None and d_weight is not None:
            ctx.save_for_backward(d_hidden, d_weight)
        return (nll * weights).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.saved_tensors  # type: ignore[attr-defined]
        # Always a product: asking whether d_loss is 1 would wait for the device.
        return None, d_hidden * d_loss, d_weight * d_loss, None, None, None


class _LogProbabilities(torch.autograd.Function):
    """Computes the logits again in the backward pass, since the rows' gradients come from there.

    Under ZeRO-3 the weight is saved as the parameter that it is, never as a view: its module
    gathers it again before the backward pass, where a view would keep the gathered values alive.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, row_kernel: RowKernel, hidden: Tensor, weight: Tensor, targets: Tensor
    ) -> Tensor:
        ctx.row_kernel = row_kernel  # type: ignore[attr-defined]
        ctx.save_for_backward(hidden, weight, targets)
        nll, _, _ = _in_chunks(row_kernel, hidden, weight, targets, None)
        return nll.neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_out: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets = ctx.saved_tensors  # type: ignore[attr-defined]
        row_kernel = ctx.row_kernel  # type: ignore[attr-defined]
        _, d_hidden, d_weight = _in_chunks(row_kernel, hidden, weight, targets, -d_out)
        return None, d_hidden, d_weight, None


def weighted_loss(
    row_kernel: RowKernel, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """`linear_cross_entropy` by way of `row_kernel`."""
    assert hidden.dtype == weight.dtype, (hidden.dtype, weight.dtype)
    with_gradient = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    return _WeightedLoss.apply(row_kernel, hidden, weight, targets, weights, with_gradient)


def log_probabilities(
    row_kernel: RowKernel, hidden: Tensor, weight: Tensor, targets: Tensor
) -> Tensor:
    """`token_log_probabilities` by way of `row_kernel`."""
    assert hidden.dtype == weight.dtype, (hidden.dtype, weight.dtype)
    return _LogProbabilities.apply(row_kernel, hidden, weight, targets)


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sum of the targets' negative log-likelihoods: a scalar in fp32 (fp64 for fp64).

    `hidden` (M, D) and `weight` (V, D) of one dtype, `targets` (M,) int64, `weights` (M,) fp32.
    With M = 0 the loss is 0 and both gradients are zero, so that ranks without a target take part.
    """
    return weighted_loss(softmax_rows, hidden, weight, targets, weights)


def token_log_probabilities(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of each target: (M,) in fp32 (fp64 for fp64).

    `hidden` (M, D) and `weight` (V, D) of one dtype, `targets` (M,) int64. Unlike the loss, whose
    gradients are finished in the forward pass, this lets any gradient come in for each row: for
    preferences and scores. Without gradients it costs one product, and keeps nothing.
    """
    return log_probabilities(softmax_rows, hidden, weight, targets)
