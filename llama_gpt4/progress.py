"""Where a process of a run is: written by the thread that trains, read by its heartbeat."""

from dataclasses import dataclass


@dataclass
class Progress:
    """The place of one process; written often, so it is no more than three fields."""

    step: int = 0
    """The optimizer step under way, from 1; 0 before the first."""
    phase: str = "starting"
    """What the step, or the time between two, is at."""
    moves: int = 0
    """How often it was said to be somewhere: two looks that find the same number saw it stand."""

    def at(self, phase: str) -> None:
        """Say that `phase` begins."""
        self.phase = phase
        self.moves += 1
