"""How likely the model that a run starts from finds each response: computed once, and kept.

All ranks take part, with the engine that is about to be trained. The numbers stay in the cache, for
other runs from the same weights on the same data, and in `run_dir/reference/`, for this one.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llama_gpt4.architecture import described
from llama_gpt4.cache import cached, digest
from llama_gpt4.errors import InputError
from llama_gpt4.files import bytes_aside
from llama_gpt4.hub import local_snapshot
from llama_gpt4.ranks import Ranks, from_rank_zero, sum_over_ranks
from llama_gpt4_data.dpo_config import DpoConfig
from llama_gpt4_data.reward_batches import RewardBatch, micro_batches
from llama_gpt4_data.reward_examples import Compared, PreparedComparisons

LogLikelihoods = Callable[[Any, RewardBatch], Tensor]
"""(engine, batch) -> (R,)."""


class Reference:
    """The log-probabilities of all responses by the model as it was before training."""

    def __init__(self, config: DpoConfig, prepared: PreparedComparisons, ranks: Ranks) -> None:
        self._config, self._prepared, self._ranks = config, prepared, ranks
        held_out = prepared.validation
        self._parts = {"train": prepared.train} | ({"validation": held_out} if held_out else {})
        self._values: dict[str, npt.NDArray[np.float64]] = {}

    def begin(self, log_likelihoods_of: LogLikelihoods, engine: Any) -> None:
        """Take them from the cache, or compute them with `engine`, which has the start's weights.
        All ranks come here."""
        folder = self._folder() if self._ranks.rank == 0 else None
        if not from_rank_zero(int(folder is not None and folder.is_dir()), self._ranks):
            self._values = {
                part: self._computed(compared, log_likelihoods_of, engine)
                for part, compared in self._parts.items()
            }
        if folder is not None:
            name = folder.name
            folder = cached(self._config.data, lambda: name, self._store)
            for part in self._parts:
                self._values[part] = _read(folder / f"{part}.npy")
            self._store(self._kept)
        for part, compared in self._parts.items():  # rank 0's, on every rank
            shown = self._values[part] if folder is not None else np.zeros(len(compared.scores))
            self._values[part] = np.array(sum_over_ranks(shown.tolist(), self._ranks))

    def of(self, compared: Compared, responses: Tensor) -> Tensor:
        """Those of `responses` (R,), numbers in `compared`: (R,) in float32."""
        [part] = [name for name, one in self._parts.items() if one is compared]
        if part not in self._values:  # the run resumes
            self._values[part] = _read(self._kept / f"{part}.npy")
        return torch.from_numpy(self._values[part][responses.numpy()]).float()

    @property
    def _kept(self) -> Path:
        return Path(self._config.run_dir) / "reference"

    def _folder(self) -> Path:
        """In the cache: named after the responses' tokens, the model and its precision."""
        assert self._config.model.path is not None
        folder = local_snapshot(self._config.model.path)
        decisive = (
            self._prepared.folder.name,
            weights_digest(folder),
            json.dumps(described(folder), sort_keys=True),
            self._config.precision.dtype,
        )
        name = f"reference-{digest(' '.join(decisive).encode())[:32]}"
        return Path(self._config.data.cache_dir).expanduser() / name

    def _computed(
        self, compared: Compared, log_likelihoods_of: LogLikelihoods, engine: Any
    ) -> npt.NDArray[np.float64]:
        """(R,) on every rank, each of which does its share of the prompts."""
        ranks, found = self._ranks, np.zeros(len(compared.scores))
        engine.eval()
        with torch.no_grad():
            for batch in micro_batches(
                compared,
                np.arange(compared.n),
                self._config.ranking,
                self._config.rows_per_micro_step,
                ranks.rank,
                ranks.world_size,
            ):
                ranks.progress.at("reference")
                values = log_likelihoods_of(engine, batch)
                if batch.comparisons:
                    found[batch.responses.numpy()] = values.double().cpu().numpy()
        engine.train()
        return np.array(sum_over_ranks(found.tolist(), ranks))

    def _store(self, folder: Path) -> None:
        for part, values in self._values.items():
            with bytes_aside(folder / f"{part}.npy") as file:
                np.save(file, values)


def weights_digest(folder: Path) -> str:
    """A hash of all files of weights in `folder`, by name and content."""
    whole = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        with open(path, "rb") as file:
            whole.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return whole.hexdigest()


def _read(path: Path) -> npt.NDArray[np.float64]:
    try:
        return np.load(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is missing or damaged ({error}): it holds what the start of this run found; "
            "choose another run_dir and start anew"
        ) from error
