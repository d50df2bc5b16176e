"""Kills a process at a chosen point of what it does to the files below a folder: at each write (of
which half is done), copy, fsync, rename, removal and new folder. The code knows nothing of it.

For whole runs, `tests/distributed/killed/sitecustomize.py` brings it into their processes.
"""

import builtins
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "sendfile")


class Points:
    """Counts the points that this process comes to below `folder`, or those of one `kind`, and
    kills at the one of number `fatal`, from 0."""

    def __init__(
        self, folder: Path | str, fatal: int, kill: Callable[[], None], kind: str | None = None
    ) -> None:
        self._folder, self._fatal, self.kill, self._kind = str(folder), fatal, kill, kind
        self._n = 0

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self._watched(name, getattr(os, name)))
        opened = builtins.open

        def watched_open(path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if mode == "wb" and self._is_below(path):
                return _Torn(path, self)
            return opened(path, mode, *rest, **options)

        builtins.open = watched_open  # type: ignore[assignment]

    def is_fatal(self, kind: str) -> bool:
        """Whether this point, which is counted, is the one."""
        if self._kind not in (None, kind):
            return False
        self._n += 1
        return self._n == self._fatal + 1

    def _watched(self, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(path: Any, *rest: Any, **options: Any) -> Any:
            # shutil.rmtree names what it removes relative to an open folder.
            is_ours = options.get("dir_fd") is not None or self._is_below(path)
            if is_ours and self.is_fatal(kind):
                self.kill()
            return call(path, *rest, **options)

        return watched

    def _is_below(self, path: Any) -> bool:
        name = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fspath(path)
        return str(name).startswith(self._folder)


class _Torn(io.BufferedWriter):
    """A file of which the fatal write is done by half."""

    def __init__(self, path: Any, points: Points) -> None:
        super().__init__(io.FileIO(path, "w"))
        self._points = points

    def write(self, data: Any) -> int:
        if self._points.is_fatal("write"):
            whole = memoryview(data).cast("B")
            super().write(whole[: len(whole) // 2])
            self.flush()
            self._points.kill()
        return super().write(data)


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
