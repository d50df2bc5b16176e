"""From examples to rows: whole examples share a row of T tokens, or one example is a row.

Global best-fit-decreasing: examples from the longest to the shortest, each into the row whose
remaining room is the least that still holds it. Nothing is ever cut, so no row exceeds T tokens.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of examples; row r is `examples[starts[r] : starts[r + 1]]`."""

    examples: Ints
    """(n,) indices of examples, row after row."""
    starts: Ints
    """(rows + 1,) where each row begins in `examples`, and where the last one ends."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def part(self, first: int, stop: int) -> "Rows":
        """Rows `first` to `stop - 1`, as far as they exist."""
        first, stop = min(first, len(self)), min(stop, len(self))
        starts = self.starts[first : stop + 1]
        return Rows(self.examples[starts[0] : starts[-1]], starts - starts[0])

    def reordered(self, row_order: Ints) -> "Rows":
        """The same rows in the order of `row_order` (rows,)."""
        sizes = np.diff(self.starts)[row_order]
        starts = _starts(sizes)
        places = np.repeat(self.starts[:-1][row_order] - starts[:-1], sizes) + np.arange(starts[-1])
        return Rows(self.examples[places], starts)

    def fill_frac(self, lengths: Ints, row_tokens: int) -> float:
        """Share of the rows' T tokens that `lengths` (n,) fill."""
        return int(lengths[self.examples].sum()) / max(1, len(self) * row_tokens)


def best_fit(lengths: Ints, row_tokens: int, order: Ints) -> Rows:
    """Pack all examples of `lengths` (n,) into rows of at most `row_tokens`.

    Examples of equal length take their turns as the permutation `order` (n,) says. Only lengths
    decide where a turn goes, so for every `order` there are as many rows with the same lengths in
    them: epochs mix the examples anew, and steps per epoch stay what they are.

    The rooms that are left are bits of one integer, on which the lowest bit at or above a length
    is the best fit: O(n T / 64) machine words at worst, and no search.
    """
    assert len(order) == len(lengths)
    assert not len(lengths) or 1 <= lengths.min() <= lengths.max() <= row_tokens, (
        "length of example"
    )
    by_length = order[np.argsort(-lengths[order], kind="stable")]
    row_of = np.empty(len(lengths), np.int64)
    n_rows = 0
    rows_with_room: list[list[int]] = [[] for _ in range(row_tokens)]
    rooms = 1 << row_tokens  # a row that is still empty is always there, and is the worst fit
    for turn, length in enumerate(lengths[by_length].tolist()):
        fitting = rooms >> length
        left = (fitting & -fitting).bit_length() - 1
        room = left + length
        if room == row_tokens:
            row = n_rows
            n_rows += 1
        else:
            row = rows_with_room[room].pop()
            if not rows_with_room[room]:
                rooms ^= 1 << room
        rows_with_room[left].append(row)
        rooms |= 1 << left
        row_of[turn] = row
    by_row = np.argsort(row_of, kind="stable")
    return Rows(by_length[by_row], _starts(np.bincount(row_of, minlength=n_rows)))


def one_each(n: int, order: Ints) -> Rows:
    """`n` rows of one example each, in the order of the permutation `order` (n,)."""
    assert len(order) == n
    return Rows(order, np.arange(n + 1))


def _starts(sizes: Ints) -> Ints:
    """Where things of `sizes` (n,) begin when they lie end to end, and the end: (n + 1,)."""
    return np.concatenate(([0], np.cumsum(sizes)), dtype=np.int64)


def spans(firsts: Ints, sizes: Ints) -> Ints:
    """`first, first + 1, ...` for `size` numbers, for each of `firsts` (E,) and `sizes` (E,)."""
    starts = np.cumsum(sizes) - sizes
    return np.repeat(firsts - starts, sizes) + np.arange(sizes.sum())
