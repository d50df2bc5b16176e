"""Which tokens a rank trains on in which step: a pure function of the step, so resume is exact.

1. An epoch packs all examples into rows and orders the rows, both by (seed, epoch).
   Single examples differ in length: the first step of a run has the longest, so that one for which
   there is no memory ends there.
2. A step takes the next window of `rows_per_step` rows, whatever the number of ranks.
3. The rows of a window go round the ranks, `rows_per_micro_step` at a time. Every rank plans the
   whole window, so it knows the weight of each of its targets without asking the others.

The import of torch waits for the first batch: planning a run does without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from llama_gpt4.data_config import DataConfig
from llama_gpt4.errors import require
from llama_gpt4.packing import Ints, Rows, best_fit, one_each, spans
from llama_gpt4.targets import Targets

if TYPE_CHECKING:
    from torch import Tensor


class Examples(Protocol):
    """What is asked of tokenised data; `examples.Examples` is that."""

    @property
    def n(self) -> int: ...
    @property
    def lengths(self) -> Ints: ...
    @property
    def targets(self) -> Targets: ...
    def tokens_of(self, i: int, /) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Batch:
    """One micro-batch of one rank: N tokens of whole examples end to end, without padding.

    The loss is sum(weights * nll). A rank without rows gets one dummy token and no target, so that
    it runs the same collectives as the others and adds exactly 0.
    """

    tokens: Tensor
    """(N,) int64, N >= 1."""
    positions: Tensor
    """(N,) int64, from 0 in each document."""
    document_lengths: tuple[int, ...]
    """They sum to N; a token attends within its document only."""
    target_rows: Tensor
    """(M,) int64: places in `tokens` whose next token is a target."""
    targets: Tensor
    """(M,) int64: those next tokens, which are the answers and their EOS."""
    weights: Tensor
    """(M,) float32; they sum to 1 over all micro-batches and ranks of a step."""
    examples: tuple[int, ...]
    """Indices of the examples, for error messages."""


class Batches:
    """The micro-batches of one rank for any step, counted from 0; the only state is a cache."""

    def __init__(
        self,
        examples: Examples,
        data: DataConfig,
        *,
        rows_per_step: int,
        rows_per_micro_step: int,
        normalisation: str,
        seed: int,
        rank: int,
        world_size: int,
    ) -> None:
        assert 0 <= rank < world_size and rows_per_step > 0 and rows_per_micro_step > 0
        require(seed >= 0, f"seed={seed} is negative: use 0 or more")
        require(examples.n > 0, "data.files hold no example to train on")
        self._examples = examples
        self._data = data
        self._rows_per_step = rows_per_step
        self._rows_per_micro_step = rows_per_micro_step
        self._normalisation = normalisation
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._epoch, self._rows = 0, self._plan(0)
        self.rows_per_epoch = len(self._rows)
        """The same in every epoch, because packing depends on lengths only."""
        full, short = divmod(self.rows_per_epoch, rows_per_step)
        self.steps_per_epoch = full + (data.last_window == "keep" and short > 0)
        size_key = "tokens_per_step" if data.batching == "pack" else "examples_per_step"
        require(
            self.steps_per_epoch > 0,
            f"data.last_window=drop leaves no step: the data make {self.rows_per_epoch} rows and a "
            f"step takes {rows_per_step}; set data.last_window=keep, or lower batch.{size_key}",
        )

    def micro_steps(self, step: int) -> int:
        """Micro-batches that `micro_batches(step)` yields, equal on every rank."""
        sizes = self._rows_per_micro_step, self._rank, self._world_size
        return len(micro_batch_slices(len(self._window(step)), *sizes))

    def micro_batches(self, step: int) -> Iterator[Batch]:
        """This rank's micro-batches of `step`, each built when it is asked for."""
        return _micro_batches(
            self._examples,
            self._window(step),
            self._normalisation,
            self._rows_per_micro_step,
            self._rank,
            self._world_size,
        )

    def tokens(self, step: int) -> int:
        """Tokens in `step`, over all ranks; there is no padding to leave out."""
        return int(self._lengths(step).sum())

    def squared_lengths(self, step: int) -> int:
        """Sum of squared example lengths in `step`, over all ranks: what attention costs."""
        return int((self._lengths(step) ** 2).sum())

    def target_tokens(self, step: int) -> int:
        """Targets in `step`, over all ranks."""
        return int(self._examples.targets.counts[self._window(step).examples].sum())

    def _lengths(self, step: int) -> Ints:
        return self._examples.lengths[self._window(step).examples]

    def _window(self, step: int) -> Rows:
        """The rows of `step`, over all ranks."""
        epoch, window = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._rows = epoch, self._plan(epoch)
        return self._rows.part(window * self._rows_per_step, (window + 1) * self._rows_per_step)

    def _plan(self, epoch: int) -> Rows:
        """All rows of `epoch` in the order of training."""
        bits = epoch_bits(self._seed, epoch)
        order = permutation(bits, self._examples.n)
        if self._data.batching == "pack":
            rows = best_fit(self._examples.lengths, self._data.row_tokens, order)
        else:
            rows = one_each(self._examples.n, order)
        rows = rows.reordered(permutation(bits, len(rows)))
        if epoch or self._data.batching == "pack":
            return rows
        lengths = self._examples.lengths[rows.examples]
        return rows.reordered(longest_first(lengths, self._rows_per_step))


def evaluation_batches(
    examples: Examples, row_tokens: int, rows_per_micro_step: int, rank: int, world_size: int
) -> Iterator[Batch]:
    """Every example once over all ranks, with as many micro-batches on each rank.

    Summed over ranks, sum(weights * nll) is the mean over all target tokens.
    """
    rows = best_fit(examples.lengths, row_tokens, np.arange(examples.n))
    return _micro_batches(examples, rows, "global_tokens", rows_per_micro_step, rank, world_size)


def target_weights(
    normalisation: str, n_targets: Ints, micro_batch: Ints
) -> npt.NDArray[np.float64]:
    """(E,) weight of one target of each of a window's examples; over all targets they sum to 1.

    `n_targets` (E,) counts the examples' targets, `micro_batch` (E,) numbers the micro-batches over
    micro-steps and ranks. What has no target counts for nothing, and is not averaged over.

    `global_tokens`: 1 / targets of the window
    `micro_batch`:   1 / (targets of the micro-batch * micro-batches of the window)
    `example`:       1 / (targets of the example * examples of the window)
    """
    if normalisation == "global_tokens":
        share = np.full(len(n_targets), n_targets.sum())
    elif normalisation == "micro_batch":
        per_micro_batch = np.bincount(micro_batch, weights=n_targets)
        share = per_micro_batch[micro_batch] * np.count_nonzero(per_micro_batch)
    else:
        assert normalisation == "example", normalisation
        share = n_targets * np.count_nonzero(n_targets)
    return 1 / np.maximum(share, 1)


def _micro_batches(
    examples: Examples,
    window: Rows,
    normalisation: str,
    rows_per_micro_step: int,
    rank: int,
    world_size: int,
) -> Iterator[Batch]:
    """One rank's part of `window`."""
    lengths = examples.lengths[window.examples]
    n_targets = examples.targets.counts[window.examples]
    micro_batch = np.repeat(np.arange(len(window)) // rows_per_micro_step, np.diff(window.starts))
    weights = target_weights(normalisation, n_targets, micro_batch)
    for rows in micro_batch_slices(len(window), rows_per_micro_step, rank, world_size):
        if rows.start == rows.stop:
            yield _empty_batch()
            continue
        mine = slice(window.starts[rows.start], window.starts[rows.stop])
        yield _batch(examples, window.examples[mine], lengths[mine], weights[mine])


def _batch(
    examples: Examples, chosen: Ints, lengths: Ints, weights: npt.NDArray[np.float64]
) -> Batch:
    """The examples `chosen` (E,) end to end; `weights` (E,) are per target."""
    from torch import from_numpy

    indices = chosen.tolist()
    tokens = np.concatenate([examples.tokens_of(i) for i in indices], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    example, answer_starts, n_targets = examples.targets.answers_of(chosen)
    # A token is predicted at the place before it, so an answer's first at its prompt's last.
    target_rows = spans(starts[example] + answer_starts - 1, n_targets)
    return Batch(
        tokens=from_numpy(tokens),
        positions=from_numpy(spans(np.zeros_like(lengths), lengths)),
        document_lengths=tuple(lengths.tolist()),
        target_rows=from_numpy(target_rows),
        targets=from_numpy(tokens[target_rows + 1]),
        weights=from_numpy(np.repeat(weights.astype(np.float32)[example], n_targets)),
        examples=tuple(indices),
    )


def _empty_batch() -> Batch:
    import torch

    none = torch.zeros(0, dtype=torch.int64)
    one = torch.zeros(1, dtype=torch.int64)
    return Batch(one, one, (1,), none, none, torch.zeros(0), ())


def micro_batch_slices(n: int, per_micro_step: int, rank: int, world_size: int) -> list[slice]:
    """The part of a window of `n` rows in each micro-batch of one rank, and as many on every rank:
    some may be empty.

    Row i is in micro-batch b = i // per_micro_step, and that is in micro-step b // world_size of
    rank b % world_size.
    """
    stride = world_size * per_micro_step
    firsts = range(rank * per_micro_step, -(-n // stride) * stride, stride)
    return [slice(min(first, n), min(first + per_micro_step, n)) for first in firsts]


def epoch_bits(seed: int, epoch: int) -> np.random.PCG64:
    """What decides the order of an epoch.

    Numpy promises these raw bits for ever, but not what Generator.permutation makes of them; a run
    must resume under the next numpy as well.
    """
    return np.random.PCG64(np.random.SeedSequence([seed, epoch]))


def longest_first(lengths: Ints, k: int) -> Ints:
    """The order of `lengths` (n,) in which the `k` longest come before the others."""
    longest = np.argsort(-lengths, kind="stable")[:k]
    return np.concatenate((longest, np.delete(np.arange(len(lengths)), longest)))


def permutation(bits: np.random.PCG64, n: int) -> Ints:
    """A random order of n things."""
    return np.argsort(bits.random_raw(n), kind="stable")
