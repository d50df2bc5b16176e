"""Rewards of many answers in one pass, on one process or several, which goes on where it was ended.

1. Batches are made of all answers, whatever the number of processes and whatever is known already:
   a batch is the same product of the same matrices wherever and whenever it is computed. (On a CPU
   the number of threads, by which sums are split, still decides their last bits.)
2. A batch that comes back is appended to a journal, under a hash of the model's files, the prompt
   and the answer. Another model finds nothing there and scores anew.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from llama_gpt4.architecture import described
from llama_gpt4.cache import digest, fingerprint
from llama_gpt4.errors import InputError, Preempted, require
from llama_gpt4.program import SIGNALS, StopRequest, end_with_parent
from llama_gpt4.ranks import share_cores
from llama_gpt4_data.reward_backbone import positions
from llama_gpt4_data.score import TOKENS_PER_BATCH, Encoded, Scorer, batches_by_length, encoder


@dataclass(frozen=True)
class Scored:
    """An answer to be scored."""

    name: str
    """What messages call it."""
    prompt: str
    """Rendered."""
    text: str


class RewardJournal:
    """The rewards that are known, by key, in a file to which lines are only ever added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rewards: dict[str, float] = {}
        if path.exists():
            self._read()

    def __contains__(self, key: str) -> bool:
        return key in self._rewards

    def __getitem__(self, key: str) -> float:
        return self._rewards[key]

    def append(self, rewards: dict[str, float]) -> None:
        lines = [json.dumps({"key": key, "reward": reward}) for key, reward in rewards.items()]
        try:
            with open(self._path, "a") as file:
                file.write("".join(f"{line}\n" for line in lines))
        except OSError as error:
            raise InputError(f"{self._path} cannot be written: {error.strerror}") from error
        self._rewards |= rewards

    def _read(self) -> None:
        try:
            whole, newline, cut = self._path.read_bytes().rpartition(b"\n")
            if cut:  # by a kill; those answers are scored again
                os.truncate(self._path, len(whole) + len(newline))
        except OSError as error:
            raise InputError(f"{self._path} cannot be read: {error.strerror}") from None
        for number, text in enumerate(whole.split(b"\n") if newline else [], 1):
            try:
                line = json.loads(text)
                self._rewards[line["key"]] = float(line["reward"])
            except (ValueError, LookupError, TypeError):
                raise InputError(
                    f"{self._path} line {number} is no reward that this program kept: move the "
                    "file away, and all is scored anew"
                ) from None


def rewards_of(
    answers: Sequence[Scored], folder: Path, journal: RewardJournal, devices: Sequence[str]
) -> list[float]:
    """The reward of each of `answers` by the model in `folder`, by a process for each of `devices`;
    what is the same twice is scored once."""
    from tqdm import tqdm

    model = _model_hash(folder)
    keys = [digest(json.dumps([model, each.prompt, each.text]).encode()) for each in answers]
    by_key = dict(zip(keys, answers, strict=True))
    tokens = _encoded(by_key, folder)
    unique = list(tokens)
    batches = [
        [unique[i] for i in batch]
        for batch in batches_by_length([tokens[key] for key in unique], TOKENS_PER_BATCH)
    ]
    todo = [batch for batch in batches if not all(key in journal for key in batch)]
    read = [[tokens[key] for key in batch] for batch in todo]
    stop = StopRequest()
    with (
        closing(_computed(read, folder, devices)) as computed,
        tqdm(total=len(unique), unit="answer", desc="rewards") as progress,
    ):
        progress.update(len(unique) - sum(map(len, todo)))
        for n, found in computed:
            rewards = dict(zip(todo[n], found, strict=True))
            _require_finite(rewards, by_key, folder)
            journal.append(rewards)
            progress.update(len(rewards))
            if stop.received:
                raise Preempted("the rewards so far are kept; the same line goes on")
    return [journal[key] for key in keys]


def devices_of(device: str, processes: int | None) -> list[str]:
    """Where each process computes: on a GPU of its own, or on its share of the cores."""
    gpus = torch.cuda.device_count() if device != "cpu" else 0
    require(
        device != "cuda" or gpus > 0,
        "device=cuda: PyTorch sees no CUDA device here; use device=cpu",
    )
    if not gpus:
        return ["cpu"] * (processes or 1)
    n = gpus if processes is None else processes
    require(n <= gpus, f"processes={n} are more than the {gpus} GPUs here, and each takes one")
    return [f"cuda:{i}" for i in range(n)]


def _computed(
    batches: Sequence[list[Encoded]], folder: Path, devices: Sequence[str]
) -> Generator[tuple[int, list[float]], None, None]:
    """The place and the rewards of each batch, as they come."""
    if len(devices) == 1 or len(batches) < 2:
        scorer = Scorer(folder, torch.device(devices[0])) if batches else None
        for n, batch in enumerate(batches):
            assert scorer is not None
            yield n, scorer.rewards_of_tokens(batch)
        return
    context = multiprocessing.get_context("spawn")
    waiting = context.SimpleQueue()
    for device in devices:
        waiting.put(device)
    pool = ProcessPoolExecutor(
        min(len(devices), len(batches)), context, _begin, (waiting, len(devices))
    )
    try:
        places = {pool.submit(_score, folder, batch): n for n, batch in enumerate(batches)}
        for done in as_completed(places):
            yield places[done], done.result()
    except BrokenProcessPool:
        raise InputError(
            "a process that scores was ended from outside (is the host out of memory?); the same "
            "line goes on, also with fewer processes"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_device = "cpu"
_scorer: Scorer | None = None


def _begin(waiting: Any, processes: int) -> None:
    """What a process does first; signals are for its parent, which ends it."""
    global _device
    end_with_parent(signal.SIGKILL)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _device = waiting.get()
    share_cores(processes)


def _score(folder: Path, batch: list[Encoded]) -> list[float]:
    global _scorer
    if _scorer is None:
        _scorer = Scorer(folder, torch.device(_device))
    return _scorer.rewards_of_tokens(batch)


def _model_hash(folder: Path) -> str:
    """Of all its files: weights, configuration and tokenizer."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return digest((fingerprint(folder, names) + json.dumps(names)).encode())


def _encoded(answers: dict[str, Scored], folder: Path) -> dict[str, Encoded]:
    """Prompt and answer as tokens, all of which the model can read."""
    tokenizer = encoder(folder)
    prompts = tokenizer.encode_prompts([each.prompt for each in answers.values()])
    texts = tokenizer.encode_answers([each.text for each in answers.values()])
    tokens = {
        k: Encoded(tuple(p), tuple(t)) for k, p, t in zip(answers, prompts, texts, strict=True)
    }
    most = positions(described(folder))
    for key, ids in tokens.items():
        require(
            most is None or len(ids) <= most,
            f"{answers[key].name} has {len(ids)} tokens with its question, and {folder} reads "
            f"{most}: leave it out, or train a reward model with a larger data.row_tokens",
        )
    return tokens


def _require_finite(rewards: dict[str, float], answers: dict[str, Scored], folder: Path) -> None:
    for key, reward in rewards.items():
        require(
            isfinite(reward),
            f"{folder} gives {answers[key].name} the reward {reward}: its weights are no good",
        )
