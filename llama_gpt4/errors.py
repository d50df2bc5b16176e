"""The one exception for bad input, and the exit codes that every program of the project returns."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a program's exit status means; it is also written to `run_dir/exit.json`."""

    DONE = 0
    BUG = 1
    BAD_INPUT = 2
    PREEMPTED = 75
    """Stopped by a signal after its state was saved: start it again to go on (EX_TEMPFAIL)."""


class InputError(Exception):
    """Bad input or configuration. Its text is one line: the file, record or key, and what to do."""


class Preempted(Exception):
    """A signal asked the run to stop; whatever had to be saved is saved."""


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)


def require_one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise `InputError` unless `value` is one of `allowed`."""
    require(value in allowed, f"{key}={value} is not one of {', '.join(allowed)}")
