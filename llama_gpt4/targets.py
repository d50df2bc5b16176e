"""Which tokens of tokenised examples are learned: all answers, each with its EOS."""

from dataclasses import dataclass, replace

import numpy as np

from llama_gpt4.packing import Ints, spans


@dataclass(frozen=True, eq=False)
class Targets:
    """Answers as spans of their examples; each example has one answer or several."""

    counts: Ints
    """(n,) learned tokens of each example."""
    _firsts: Ints
    """(n,) which answer is the first of each example."""
    _numbers: Ints
    """(n,) how many it has."""
    _starts: Ints
    """(A,) place of each answer's first token in its example."""
    _sizes: Ints
    """(A,) tokens of each answer."""

    @classmethod
    def from_table(cls, table: Ints, lengths: Ints) -> "Targets":
        """Of examples with `lengths` (n,); a row of `table` (A, 3) is an answer: its example, place
        of its first token there, tokens. A `ValueError` where it cannot be of these examples."""
        examples, starts, sizes = (np.ascontiguousarray(column) for column in table.T)
        ends = starts + sizes
        goes_on = np.diff(examples) == 0
        # A token is predicted from the one before it, so the first is never a target.
        is_sound = (
            (np.diff(examples) >= 0).all()
            and np.array_equal(np.unique(examples), np.arange(len(lengths)))
            and (starts >= 1).all()
            and (sizes >= 0).all()
            and (ends <= lengths[examples]).all()
            and (starts[1:] >= ends[:-1])[goes_on].all()
        )
        if not is_sound:
            raise ValueError("its answers do not lie within its examples")
        firsts = np.searchsorted(examples, np.arange(len(lengths) + 1))
        counts = np.diff(np.concatenate(([0], np.cumsum(sizes)))[firsts])
        return cls(counts, firsts[:-1], np.diff(firsts), starts, sizes)

    def chosen(self, examples: Ints) -> "Targets":
        """Those of `examples` (E,), which may repeat."""
        return replace(
            self,
            counts=self.counts[examples],
            _firsts=self._firsts[examples],
            _numbers=self._numbers[examples],
        )

    def answers_of(self, examples: Ints) -> tuple[Ints, Ints, Ints]:
        """All answers of `examples` (E,): to which of these each belongs, from 0, the place of its
        first token there, and its tokens."""
        n = self._numbers[examples]
        answers = spans(self._firsts[examples], n)
        return np.repeat(np.arange(len(examples)), n), self._starts[answers], self._sizes[answers]
