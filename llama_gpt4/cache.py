"""What is computed once and kept in a folder of its own: `<cache_dir>/<key>/`, whole or not there.

Whoever comes first builds it under a lock; the others wait for the lock, then open it.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llama_gpt4.data_config import FilesConfig
from llama_gpt4.errors import InputError

log = logging.getLogger(__name__)


def cached(data: FilesConfig, key_of: Callable[[], str], write: Callable[[Path], None]) -> Path:
    """The folder with the name `key_of()`, which `write` has filled, now or some time before."""
    key, cache = key_of(), Path(data.cache_dir).expanduser()
    folder = cache / key
    if not folder.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with _lock(cache / f"{key}.lock"):
                if not folder.is_dir():
                    _build(key_of, write, folder)
        except OSError as error:
            raise InputError(
                f"data.cache_dir={data.cache_dir} cannot be written "
                f"({error.strerror or error}): choose another"
            ) from error
    return folder


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fingerprint(folder: Path, names: Sequence[str]) -> str:
    """A hash of the files `names` in `folder`."""
    whole = hashlib.sha256()
    for name in names:
        with open(folder / name, "rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold `path`; the system lets go of it when the holder dies, however it dies."""
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process prepares the same data; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(key_of: Callable[[], str], write: Callable[[Path], None], folder: Path) -> None:
    """Make `folder` appear, complete. The lock is held."""
    # The host is in the name for file systems that lock within one host only.
    mine = f"{folder.name}.{socket.gethostname()}"
    for dead in folder.parent.glob(f"{mine}.*.tmp"):
        shutil.rmtree(dead)
    draft = folder.with_name(f"{mine}.{os.getpid()}.tmp")
    draft.mkdir()
    try:
        write(draft)
        if key_of() != folder.name:
            raise InputError("data.files or the tokenizer changed while they were read: try again")
        _sync(draft)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    log.info("tokens are in %s", folder)


def _sync(draft: Path) -> None:
    """Bring all of `draft` to the disk, so that no later crash can leave a part of it."""
    for path in draft.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        else:
            _sync_folder(path)
    _sync_folder(draft)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
