"""All replies that were ever paid for, in files to which lines are only ever added.

1. Every process that asks writes a file of its own, a line a reply, each by a single `write`: a
   kill loses what is in flight and nothing else, and a cut last line is no reply.
2. A line is found again by the key of its request, whatever run, output or option asks for it.
3. `fdatasync` every `SYNC_REPLIES` replies or `SYNC_SECONDS`: what a power cut may lose.
"""

import errno
import json
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4_data.requests import Reply

SYNC_REPLIES = 100
SYNC_SECONDS = 0.5

_START = b'{"key": "'
_KEY_LETTERS = 64
_FIELDS = tuple(field.name for field in fields(Reply))


class Journal:
    """The replies in `folder` by their request's key; those of this process are added to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[str, bytes] = {}
        self._file: int | None = None
        self._unsynced = 0
        for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
            self._read(path)

    def __contains__(self, key: str) -> bool:
        return key in self._lines

    def __len__(self) -> int:
        return len(self._lines)

    def reply(self, key: str) -> Reply | None:
        """What was answered to the request with `key`."""
        line = self._lines.get(key)
        return None if line is None else Reply(**json.loads(line))

    def require_writable(self) -> None:
        """Find out before anything is paid whether it could be kept."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise self._unwritable(error) from error

    def append(self, reply: Reply) -> None:
        """Keep `reply`, whatever happens to this process from here on."""
        entry: dict[str, Any] = {name: getattr(reply, name) for name in _FIELDS}
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace")
        try:
            if self._file is None:
                self._file = self._open()
            written = os.write(self._file, line + b"\n")
        except OSError as error:
            raise self._unwritable(error) from error
        if written <= len(line):
            raise InputError(f"{self._folder}: no space left for replies; make some, and go on")
        self._lines[reply.key] = line
        self._unsynced += 1
        if self._unsynced >= SYNC_REPLIES:
            self.sync()

    def sync(self) -> None:
        """Bring what was appended to the disk."""
        if self._file is None or not self._unsynced:
            return
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise self._unwritable(error) from error
        self._unsynced = 0

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        """A file that no other process writes; a name in use is a pid that came round again."""
        self._folder.mkdir(parents=True, exist_ok=True)
        stem = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
        for number in range(1000):
            path = self._folder / f"{stem}-{number}.jsonl"
            try:
                return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            except FileExistsError:
                continue
        raise InputError(f"{self._folder} holds 1000 journals of this second: choose another")

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        whole, _, _ = content.rpartition(b"\n")
        first = len(_START)
        for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
            if not line.startswith(_START) or not line.endswith(b"}"):
                raise InputError(
                    f"{path} line {number} is no reply that this program kept: move the file away"
                )
            self._lines[line[first : first + _KEY_LETTERS].decode("ascii", "replace")] = line

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"journal_dir: {self._folder} cannot be written ({error.strerror}): make room, or "
            "choose another; the same line goes on"
        )
