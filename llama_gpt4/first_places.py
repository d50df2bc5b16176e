"""Where something was met first, for more things than a dictionary could hold in memory."""

import numpy as np
import numpy.typing as npt

from llama_gpt4.packing import Ints

Digests = npt.NDArray[np.uint64]


class FirstPlaces:
    """Places by digest, 16 bytes for each.

    They lie in sorted runs, of which two become one as soon as the later is half as long as the
    earlier: what n digests cost grows as n log(n).
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Digests, Ints]] = []

    def find(self, digests: Digests) -> Ints:
        """(n,) the place of each of `digests` (n,); -1: it was not met."""
        found = np.full(len(digests), -1, np.int64)
        for known, places in self._runs:
            at = np.minimum(np.searchsorted(known, digests), len(known) - 1)
            is_there = known[at] == digests
            found[is_there] = places[at[is_there]]
        return found

    def add(self, digests: Digests, places: Ints) -> None:
        """Remember `digests` (n,), of which none is known and no two are equal."""
        if not len(digests):
            return
        self._runs.append(_sorted(digests, places))
        while len(self._runs) > 1 and len(self._runs[-2][0]) <= 2 * len(self._runs[-1][0]):
            (some, their_places), (more, its_places) = self._runs.pop(-2), self._runs.pop()
            self._runs.append(
                _sorted(np.concatenate([some, more]), np.concatenate([their_places, its_places]))
            )


def _sorted(digests: Digests, places: Ints) -> tuple[Digests, Ints]:
    order = np.argsort(digests, kind="stable")
    return digests[order], places[order]
