"""`add_rms_norm` in Triton: one launch forward; backward one, and the sum of its partial results.

Bytes a row, in units of D values: forward reads hidden and delta, writes sum and normed; backward
reads the sum and two gradients, writes one. A row lies in registers as two pieces whose sizes are
powers of two, so that 4096 = 2048 + 2048 and 5120 = 4096 + 1024 leave no lane idle.

Backward runs two programs on each multiprocessor, each of which walks over many rows: the gradient
of the weight is summed in registers, and the next row is asked for before this row's reductions,
during which the memory would stand idle. Partial sums are added in a fixed order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def launch_constants(width: int) -> dict[str, int]:
    """How a row of `width` values is cut in two pieces: at 4096, 8 + 8 values a lane."""
    head = 1 << max(0, (width - 1).bit_length() - 1)  # the largest power of two below width
    tail = triton.next_power_of_2(max(1, width - head))
    return {
        "WIDTH": width,
        "HEAD": head,
        "TAIL": tail,
        "num_warps": min(8, max(1, head // 256)),
    }


@triton.jit
def _load_row(values, row, WIDTH: tl.constexpr, HEAD: tl.constexpr, TAIL: tl.constexpr):
    start = values + tl.cast(row, tl.int64) * WIDTH
    columns = HEAD + tl.arange(0, TAIL)
    head = tl.load(start + tl.arange(0, HEAD))
    return head, tl.load(start + columns, mask=columns < WIDTH, other=0.0)


@triton.jit
def _store_row(
    values, row, head, tail, WIDTH: tl.constexpr, HEAD: tl.constexpr, TAIL: tl.constexpr
):
    start = values + tl.cast(row, tl.int64) * WIDTH
    columns = HEAD + tl.arange(0, TAIL)
    tl.store(start + tl.arange(0, HEAD), head.to(values.dtype.element_ty))
    tl.store(start + columns, tail.to(values.dtype.element_ty), mask=columns < WIDTH)


@triton.jit
def _mean(head, tail, WIDTH: tl.constexpr, HEAD: tl.constexpr, TAIL: tl.constexpr):
    if HEAD == TAIL:  # one reduction over the block instead of two
        return tl.sum(head + tail) / WIDTH
    else:
        return (tl.sum(head) + tl.sum(tail)) / WIDTH


@triton.jit
def _add(left, right):
    """Sum in fp32, rounded to the dtype: an interpreter or a chip may lack bf16 arithmetic."""
    return (left.to(tl.float32) + right.to(tl.float32)).to(left.dtype)


@triton.jit
def _scale(values, inverse, weight):
    unit = (values * inverse).to(weight.dtype)
    return unit.to(tl.float32) * weight.to(tl.float32)


@triton.jit
def forward_kernel(
    hidden, delta, weight, total, normed, inverse_rms, eps,
    WIDTH: tl.constexpr, HEAD: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    """One row. `delta` and `total` are None together: then nothing is added or stored."""
    row = tl.program_id(0)
    head, tail = _load_row(hidden, row, WIDTH, HEAD, TAIL)
    if delta is not None:
        delta_head, delta_tail = _load_row(delta, row, WIDTH, HEAD, TAIL)
        head = _add(head, delta_head)
        tail = _add(tail, delta_tail)
        _store_row(total, row, head, tail, WIDTH, HEAD, TAIL)
    weight_head, weight_tail = _load_row(weight, 0, WIDTH, HEAD, TAIL)
    wide_head = head.to(tl.float32)
    wide_tail = tail.to(tl.float32)
    mean = _mean(wide_head * wide_head, wide_tail * wide_tail, WIDTH, HEAD, TAIL)
    inverse = tl.rsqrt(mean + tl.cast(eps, tl.float32))
    tl.store(inverse_rms + row, inverse)
    normed_head = _scale(wide_head, inverse, weight_head)
    normed_tail = _scale(wide_tail, inverse, weight_tail)
    _store_row(normed, row, normed_head, normed_tail, WIDTH, HEAD, TAIL)


@triton.jit(do_not_specialize=["n_rows"])
def backward_kernel(
    d_total, d_normed, total, weight, inverse_rms, d_sum, d_weight_parts, n_rows,
    WIDTH: tl.constexpr, HEAD: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    """Rows p, p + P, p + 2P, ... of program p of P <= n_rows; `d_total` may be None."""
    program = tl.program_id(0)
    n_programs = tl.num_programs(0)
    d_weight_head = tl.zeros([HEAD], tl.float32)
    d_weight_tail = tl.zeros([TAIL], tl.float32)
    next_head, next_tail = _load_row(total, program, WIDTH, HEAD, TAIL)
    next_d_head, next_d_tail = _load_row(d_normed, program, WIDTH, HEAD, TAIL)
    next_inverse = tl.load(inverse_rms + program)
    for row in range(program, n_rows, n_programs):
        head, tail, inverse = next_head, next_tail, next_inverse
        d_head, d_tail = next_d_head.to(tl.float32), next_d_tail.to(tl.float32)
        if d_total is not None:  # needed at the end of this turn only, so not a turn ahead
            d_total_head, d_total_tail = _load_row(d_total, row, WIDTH, HEAD, TAIL)
        follower = tl.minimum(row + n_programs, n_rows - 1)  # no mask; after the last, unused
        next_head, next_tail = _load_row(total, follower, WIDTH, HEAD, TAIL)
        next_d_head, next_d_tail = _load_row(d_normed, follower, WIDTH, HEAD, TAIL)
        next_inverse = tl.load(inverse_rms + follower)

        unit_head = head.to(tl.float32) * inverse
        unit_tail = tail.to(tl.float32) * inverse
        d_weight_head += d_head * unit_head
        d_weight_tail += d_tail * unit_tail
        # From the L1 cache in every turn: held in registers, it would leave room for one program of
        # 5120 columns on a multiprocessor instead of two.
        weight_head, weight_tail = _load_row(weight, 0, WIDTH, HEAD, TAIL)
        d_head *= weight_head.to(tl.float32)
        d_tail *= weight_tail.to(tl.float32)
        mean = _mean(d_head * unit_head, d_tail * unit_tail, WIDTH, HEAD, TAIL)
        d_head = (d_head - unit_head * mean) * inverse
        d_tail = (d_tail - unit_tail * mean) * inverse
        if d_total is not None:
            d_head += d_total_head.to(tl.float32)
            d_tail += d_total_tail.to(tl.float32)
        _store_row(d_sum, row, d_head, d_tail, WIDTH, HEAD, TAIL)
    _store_row(d_weight_parts, program, d_weight_head, d_weight_tail, WIDTH, HEAD, TAIL)


def _n_programs(device: torch.device) -> int:
    """Programs of the backward kernel: what fits a GPU at once; few where it is interpreted."""
    if device.type != "cuda":
        return 4
    return 2 * torch.cuda.get_device_properties(device).multi_processor_count


class _AddRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, hidden: Tensor, delta: Tensor | None, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        n_rows, width = hidden.shape
        hidden = hidden.contiguous()
        total = hidden if delta is None else torch.empty_like(hidden)
        normed = torch.empty_like(hidden)
        inverse_rms = hidden.new_empty(n_rows, 1, dtype=torch.float32)
        if n_rows:
            forward_kernel[(n_rows,)](
                hidden,
                None if delta is None else delta.contiguous(),
                weight,
                None if delta is None else total,
                normed,
                inverse_rms,
                eps,
                **launch_constants(width),
            )
        ctx.save_for_backward(total, weight, inverse_rms)
        ctx.set_materialize_grads(False)
        return total, normed

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_total: Tensor | None, d_normed: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        has_delta = ctx.needs_input_grad[1]  # type: ignore[attr-defined]
        if d_normed is None:
            return d_total, d_total if has_delta else None, None, None
        total, weight, inverse_rms = ctx.saved_tensors  # type: ignore[attr-defined]
        n_rows, width = total.shape
        n_programs = min(n_rows, _n_programs(total.device))
        d_sum = torch.empty_like(total)
        d_weight_parts = inverse_rms.new_empty(n_programs, width)
        if n_rows:
            backward_kernel[(n_programs,)](
                None if d_total is None else d_total.contiguous(),
                d_normed.contiguous(),
                total,
                weight,
                inverse_rms,
                d_sum,
                d_weight_parts,
                n_rows,
                **launch_constants(width),
            )
        return d_sum, d_sum if has_delta else None, d_weight_parts.sum(0).to(weight.dtype), None


def add_rms_norm(
    hidden: Tensor, delta: Tensor | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`hidden`, `delta` (N, D), `weight` (D,) of one dtype -> their sum and its norm, both (N, D).

    Without `delta` the sum is `hidden` itself.
    """
    return _AddRMSNorm.apply(hidden, delta, weight, eps)
