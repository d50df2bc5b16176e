"""How the loss of a trial falls, read from `metrics.jsonl` as that grows, and the median rule."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median

MIN_OTHERS = 3
"""Trials that must have come as far before another one can be behind them."""


class Curve:
    """Values of one metric by step."""

    def __init__(self, path: Path, metric: str) -> None:
        self.metric = metric
        self.values: dict[int, float] = {}
        self._path = path
        self._inode, self._offset = 0, 0

    def update(self) -> bool:
        """Read what has been written since; whether there was anything."""
        if not self._path.exists():
            return False
        with open(self._path, "rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self._inode:  # a resumed run replaces the file, for steps it takes again
                self.values, self._inode, self._offset = {}, inode, 0
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in map(json.loads, whole.splitlines()):
            if self.metric in line:
                self.values[line["step"]] = line[self.metric]
        return bool(whole)

    @property
    def last_step(self) -> int:
        return max(self.values, default=0)

    @property
    def last(self) -> float | None:
        return self.values.get(self.last_step)

    def lowest(self, step: int) -> float | None:
        """The lowest value up to `step`."""
        return min((value for at, value in self.values.items() if at <= step), default=None)


def is_behind(mine: Curve, others: Sequence[float], after_steps: int) -> bool:
    """Whether the lowest value of `mine` is above the median of the `others` by the same step."""
    lowest = mine.lowest(mine.last_step)
    if lowest is None or mine.last_step < after_steps or len(others) < MIN_OTHERS:
        return False
    return lowest > median(others)
