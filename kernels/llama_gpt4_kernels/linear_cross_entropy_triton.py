"""The loss head with a Triton row kernel: logits in, likelihoods and their gradient out, in place.

One program a row, two passes. The first keeps, for each group of 8 columns of a block, the largest
logit so far and the sum of exp(logit - largest): 9 exponentials for 8 logits, and one reduction a
row. The second reads the row again, mostly from the L2 cache, and writes
    P = (exp(logit - largest) / sum - onehot) * weight
rounded once. Bytes a row of V bf16 logits: 2V read, 2V written; without weights 2V read.

Memory is masked by the row's stride, a multiple of 64, and values by V: masked by V alone, an odd
vocabulary (32,001; 49,953) would be read and written 2 bytes at a time.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from llama_gpt4_kernels.linear_cross_entropy import log_probabilities, weighted_loss

LAUNCH = {"BLOCK": 4096, "num_warps": 16}
"""16 bytes a thread for bf16."""


# A chunk's rows begin anywhere in these three, so a promise of aligned pointers would come and go
# with the number of tokens, and each time compile anew.
@triton.jit(do_not_specialize_on_alignment=["targets", "weights", "nll"])
def softmax_rows_kernel(logits, row_stride, vocab_size, targets, weights, nll, BLOCK: tl.constexpr):
    """One row of `logits` (n, V), rows `row_stride` apart; without `weights` only `nll`."""
    row = tl.program_id(0)
    z_row = logits + row.to(tl.int64) * row_stride
    target = tl.load(targets + row)
    of_target = tl.load(z_row + target).to(tl.float32)

    N_GROUPS: tl.constexpr = BLOCK // 8
    # Finite, so that a group of nothing but padding (-inf) has 0 terms and not NaN.
    largest = tl.full((N_GROUPS,), -3e38, tl.float32)
    total = tl.zeros((N_GROUPS,), tl.float32)
    for start in range(0, row_stride, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        z = tl.load(z_row + columns, mask=columns < row_stride, other=0.0).to(tl.float32)
        z = tl.where(columns < vocab_size, z, float("-inf"))
        z = tl.reshape(z, (N_GROUPS, 8))
        larger = tl.maximum(largest, tl.max(z, 1))
        total = total * tl.exp(largest - larger) + tl.sum(tl.exp(z - larger[:, None]), 1)
        largest = larger
    row_largest = tl.max(largest, 0)
    row_total = tl.sum(total * tl.exp(largest - row_largest), 0)
    tl.store(nll + row, tl.log(row_total) + (row_largest - of_target))

    if weights is not None:
        weight = tl.load(weights + row)
        inverse_total = 1.0 / row_total
        for start in range(0, row_stride, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            in_row = columns < row_stride
            z = tl.load(z_row + columns, mask=in_row, other=0.0).to(tl.float32)
            p = tl.exp(z - row_largest) * inverse_total
            p = tl.where(columns == target, p - 1.0, p) * weight
            tl.store(z_row + columns, p.to(logits.dtype.element_ty), mask=in_row)


def softmax_rows(logits: Tensor, targets: Tensor, weights: Tensor | None, nll: Tensor) -> None:
    """The row kernel; see `linear_cross_entropy.RowKernel`."""
    assert nll.dtype == torch.float32, "the kernel computes in fp32"
    softmax_rows_kernel[(len(logits),)](
        logits,
        logits.stride(0),
        logits.shape[1],
        targets.contiguous(),
        None if weights is None else weights.contiguous(),  # a sum's gradient has no strides
        nll,
        **LAUNCH,
    )


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sum of the targets' negative log-likelihoods: a scalar in fp32.

    `hidden` (M, D) and `weight` (V, D) of one dtype, `targets` (M,) int64, `weights` (M,) fp32.
    """
    return weighted_loss(softmax_rows, hidden, weight, targets, weights)


def token_log_probabilities(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of each target, (M,) fp32; `hidden` (M, D), `weight` (V, D), `targets` (M,)
    int64."""
    return log_probabilities(softmax_rows, hidden, weight, targets)
