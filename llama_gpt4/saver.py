"""Checkpoints behind training: `save` only notes what is to be saved. A thread of each rank copies
it aside, for which at most the next update waits, then writes, hashes and publishes it.

A thread will do: copying, writing, `fsync` and SHA-256 all let go of the interpreter. It takes no
part in collectives, which are not safe from two threads: the ranks' threads meet over files
(`publication.py`). What the training threads have to agree on, that a write failed somewhere, rides
on the collective that every step has anyway.
"""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, NoReturn, Self

import torch.distributed as dist

from llama_gpt4 import publication, zero_state
from llama_gpt4.checkpoint import RunState
from llama_gpt4.config import RunConfig
from llama_gpt4.errors import InputError
from llama_gpt4.publication import Kept
from llama_gpt4.ranks import Ranks, from_all, sum_over_ranks
from llama_gpt4.staging import Staging
from llama_gpt4.zero_state import Fragment

log = logging.getLogger(__name__)

LAST_SECONDS = 60.0
"""How much later a run that fails ends for a checkpoint that is being written, at most."""
SIGN_SECONDS = 1.0
"""How often a thread that waits for a write looks whether that goes on."""


@dataclass
class _Save:
    """A save on its way."""

    state: RunState
    folder: Path
    began: float
    stall_seconds: float = 0.0
    """How long training has waited for it."""
    seconds: float = 0.0
    """From its beginning until it was published."""
    is_copied: Event = field(default_factory=Event)
    is_cancelled: Event = field(default_factory=Event)
    is_reported: bool = False
    futures: list[Future[None]] = field(default_factory=list)
    """This rank's own part; on rank 0 also the publication."""

    def error(self) -> BaseException | None:
        ended = [future for future in self.futures if future.done()]
        return next((error for future in ended if (error := future.exception())), None)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.stall_seconds += time.perf_counter() - began


class Saver:
    """One save at a time; a context that covers the training.

    `architecture` is the model's config.json.
    """

    def __init__(
        self, engine: Any, architecture: dict[str, Any], config: RunConfig, ranks: Ranks
    ) -> None:
        self._engine, self._config, self._ranks = engine, config, ranks
        self._described = {"architecture": architecture, "shapes": zero_state.shapes(engine)}
        self._staging = Staging(zero_state.ranges(engine), ranks.device)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._save: _Save | None = None
        self._reports: list[dict[str, float]] = []
        self._request = Path(config.run_dir) / "save"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A run that fails elsewhere waits for its last checkpoint; Ctrl-C does not."""
        if self._save is not None:
            if kind is not None and issubclass(kind, Exception):
                wait(self._save.futures, LAST_SECONDS)
            self._save.is_cancelled.set()
        self._thread.shutdown(wait=False)
        if self._save is None or all(future.done() for future in self._save.futures):
            self._staging.close()

    def save(self, state: RunState) -> None:
        """Begin to save the engine as it is; all ranks call it. It waits for the save before."""
        self.finish()
        if self._ranks.rank == 0:
            self._request.unlink(missing_ok=True)
        folder = publication.step_folder(Path(self._config.run_dir), state.step)
        save = self._save = _Save(state, folder, began=time.perf_counter())
        with save.stalled():
            fragments, after = list(zero_state.fragments(self._engine)), self._staging.mark()
            save.futures.append(self._thread.submit(self._write_part, save, fragments, after))
            if self._ranks.rank == 0:
                save.futures.append(self._thread.submit(self._publish, save))

    def wait_until_copied(self) -> None:
        """Before an update: what is to be saved must be aside."""
        if self._save is not None:
            with self._save.stalled():
                self._save.is_copied.wait()

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody has put `run_dir/save` there: rank 0 looks, and takes it away when the
        save begins."""
        return self._ranks.rank == 0 and self._request.exists()

    @property
    def has_failed(self) -> bool:
        """Whether this rank could not do its part of the last save."""
        return self._save is not None and self._save.error() is not None

    def fail(self) -> NoReturn:
        """End the run on all ranks, with the words of the first on which `has_failed`."""
        save, ranks = self._save, self._ranks
        assert save is not None
        error = save.error()
        messages = from_all("" if error is None else str(error) or repr(error), ranks)
        save.is_cancelled.set()
        wait(save.futures)
        dist.barrier()  # nobody writes any more
        if ranks.rank == 0:
            publication.discard(save.folder)
        self._save = None
        if error is not None and not isinstance(error, InputError):
            raise error  # a bug, with its trace
        raise InputError(next(message for message in messages if message))

    def finish(self) -> None:
        """Wait until the checkpoint is published; all ranks call it. `InputError` on all of them
        where one could not do its part."""
        if self._save is None:
            return
        # Each its own part first: rank 0 would wait in vain for that of one that has failed.
        for futures in self._save.futures[:1], self._save.futures[1:]:
            with self._save.stalled():
                self._wait_for(futures)
                failures = sum_over_ranks([float(self.has_failed)], self._ranks)[0]
            if failures:
                self.fail()
        self._note_end(self._save)
        self._save = None

    def _wait_for(self, futures: list[Future[None]]) -> None:
        """A write that takes long and goes on is no hang: `progress` moves with it."""
        seen = -1
        while wait(futures, SIGN_SECONDS).not_done:
            if self._staging.n_taken != seen:
                seen = self._staging.n_taken
                self._ranks.progress.at("waiting for the checkpoint")

    def reports(self) -> list[dict[str, float]]:
        """Of the saves that have ended since the last call: the step that was saved, how long
        training waited and how long the whole save took. On rank 0, which publishes."""
        if self._save is not None and all(future.done() for future in self._save.futures):
            self._note_end(self._save)
        found, self._reports = self._reports, []
        return found

    def _note_end(self, save: _Save) -> None:
        if not save.is_reported and save.error() is None:
            save.is_reported = True
            self._reports.append(
                {
                    "saved_step": save.state.step,
                    "save_stall_seconds": save.stall_seconds,
                    "save_seconds": save.seconds,
                }
            )

    def _write_part(self, save: _Save, fragments: list[Fragment], after: Any) -> None:
        try:
            self._staging.fill(fragments, after)
        finally:
            save.is_copied.set()
        publication.write_part(
            save.folder, self._ranks.rank, self._staging.tensors(), self._staging.ranges
        )

    def _publish(self, save: _Save) -> None:
        publication.publish(
            save.folder,
            {"state": asdict(save.state), **self._described},
            self._ranks.world_size,
            60 * self._config.launch.timeout_minutes,
            save.is_cancelled,
        )
        loop = self._config.train
        kept = Kept(loop.keep_checkpoints, loop.keep_checkpoint_bytes, save.state.best_step)
        publication.remove_old(Path(self._config.run_dir), kept)
        save.seconds = time.perf_counter() - save.began
        log.info("saved step %d in %.1f s", save.state.step, save.seconds)
