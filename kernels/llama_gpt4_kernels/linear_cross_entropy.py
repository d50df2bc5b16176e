"""The loss head: sum of weight_i * -log softmax(hidden_i W^T)[target_i], in chunks of rows.

The gradient is computed together with the loss, while a chunk of logits is at hand; with
P = softmax(logits) - onehot(targets), each row times its weight:
    d_hidden = P W        d_W = P^T hidden
so that nothing is computed twice and only the two finished gradients are kept. Row statistics are
fp32; d_W is summed over the chunks in fp32 and rounded once (summed in bf16, its error would grow
with the chunks). The caller drops masked positions: it passes the rows that have a target.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CHUNK_BYTES = 64 * 2**20
"""Largest buffer of fp32 logits."""


def _chunk_rows(n_rows: int, vocab_size: int) -> int:
    """Rows of the largest chunk when `n_rows` are split evenly within `CHUNK_BYTES`."""
    most = max(1, CHUNK_BYTES // (4 * vocab_size))
    n_chunks = -(-n_rows // most)
    return -(-n_rows // n_chunks) if n_chunks else 0


def _softmax_and_nll(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Make `logits` (n, V) probabilities in place -> nll (n,), probability of the target (n, 1)."""
    columns = targets.unsqueeze(1)
    of_target = logits.gather(1, columns)
    largest = logits.amax(1, keepdim=True)
    torch.softmax(logits, 1, out=logits)
    # The largest probability is exp(0) / sum, and at least 1/V: its logarithm is always safe.
    log_sum = largest - logits.amax(1, keepdim=True).log_()
    return (log_sum - of_target).squeeze(1), logits.gather(1, columns)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        weights: Tensor,
        with_gradient: bool,
    ) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        n_rows, vocab_size = len(hidden), len(weight)
        chunk = _chunk_rows(n_rows, vocab_size)
        logits = hidden.new_empty(chunk, vocab_size)
        probabilities = logits if hidden.dtype == wide else logits.to(wide)
        nll = hidden.new_empty(n_rows, dtype=wide)
        d_hidden = torch.empty_like(hidden) if with_gradient else None
        d_weight = None
        for start in range(0, n_rows, chunk or 1):
            rows = slice(start, min(start + chunk, n_rows))
            n = rows.stop - start
            z, p = logits[:n], probabilities[:n]
            torch.mm(hidden[rows], weight.t(), out=z)
            if p is not z:
                p.copy_(z)
            nll[rows], of_target = _softmax_and_nll(p, targets[rows])
            if d_hidden is None:
                continue
            p.scatter_(1, targets[rows].unsqueeze(1), of_target.sub_(1))
            p.mul_(weights[rows].unsqueeze(1))
            if p is not z:
                z.copy_(p)
            torch.mm(z, weight, out=d_hidden[rows])
            d_weight = _add_product(d_weight, z, hidden[rows], is_last=rows.stop == n_rows)
        if d_hidden is not None:
            d_weight = torch.zeros_like(weight) if d_weight is None else d_weight.to(weight.dtype)
            ctx.save_for_backward(d_hidden, d_weight)
        return torch.dot(nll, weights.to(wide))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_loss: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_hidden, d_weight = ctx.saved_tensors  # type: ignore[attr-defined]
        # Always a product: asking whether d_loss is 1 would wait for the device.
        return d_hidden * d_loss, d_weight * d_loss, None, None, None


def _add_product(total: Tensor | None, z: Tensor, hidden: Tensor, is_last: bool) -> Tensor:
    """`total` + z^T hidden, (V, D) in at least fp32 unless this is the only product."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    if total is None:
        product = torch.mm(z.t(), hidden)
        return product if is_last else product.to(wide)
    if hidden.dtype == wide:
        return torch.addmm(total, z.t(), hidden, out=total)
    return total.add_(torch.mm(z.t(), hidden))


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sum of the targets' negative log-likelihoods: a scalar in fp32 (fp64 for fp64).

    `hidden` (M, D) and `weight` (V, D) of one dtype, `targets` (M,) int64, `weights` (M,) fp32.
    With M = 0 the loss is 0 and both gradients are zero, so that ranks without a target take part.
    """
    assert hidden.dtype == weight.dtype, (hidden.dtype, weight.dtype)
    assert len(hidden) == len(targets) == len(weights), (hidden.shape, targets.shape, weights.shape)
    with_gradient = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    return _LinearCrossEntropy.apply(hidden, weight, targets, weights, with_gradient)
