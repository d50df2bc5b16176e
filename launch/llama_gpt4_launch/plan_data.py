"""How much there is to train on: counted where the data are prepared, else estimated."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llama_gpt4.batches import Batches
from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import Examples, open_prepared
from llama_gpt4.mixture import times_in_epoch
from llama_gpt4.prepare import cache_key
from llama_gpt4.prompt import render_prompts
from llama_gpt4.records import is_path, readable_records
from llama_gpt4_launch.plan_config import PlannedConfig

ASCII_PER_TOKEN = 3.8
"""Of English under LLaMA's tokenizer."""
OTHER_BYTES_PER_TOKEN = 1.9
"""UTF-8 bytes of other scripts: LLaMA spells most Chinese characters in bytes."""
TARGET_SHARE = 0.7
"""Of tokens that are learned, where there are no texts to look at."""
SPREAD = 1.5
"""Mean of the squared lengths over the square of the mean length, likewise."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One epoch of the data, over all GPUs."""

    examples: int
    tokens: int
    target_tokens: int
    squared_lengths: int
    """Sum over the examples: what attention costs."""
    rows: int
    """Packed rows, or as many rows as examples."""
    steps: int
    longest: tuple[int, ...] | None
    """The longest examples, from the longest on; None: not known."""
    vocab_size: int | None
    source: str
    """Where the numbers come from, in words."""
    is_estimate: bool

    def peak_tokens(self, config: TrainConfig, rows: int) -> int:
        """The most tokens that `rows` rows of one micro-batch can have."""
        if config.data.batching == "pad" and self.longest is not None:
            return sum(self.longest[:rows])
        return rows * config.data.row_tokens


def workload(config: PlannedConfig) -> Workload:
    """What `config` trains on; reads the cache of `llama-gpt4 prepare` where it is there."""
    if config.plan.examples is not None:
        return _described(config, config.plan.examples, config.plan.tokens_per_example)
    folder = _cache_folder(config)
    if folder is not None and folder.is_dir():
        prepared = open_prepared(config, folder)
        return _counted(config, prepared.train, prepared.vocab_size)
    return _guessed(config)


def _cache_folder(config: PlannedConfig) -> Path | None:
    """Where prepared data would be; None where the tokenizer is still on the hub."""
    path = config.tokenizer.path or config.model.path
    if path is not None and not Path(path).expanduser().exists():
        return None
    _require_files(config)
    return Path(config.data.cache_dir).expanduser() / cache_key(config)


def _counted(config: PlannedConfig, examples: Examples, vocab_size: int) -> Workload:
    batches = Batches(
        examples,
        config.data,
        rows_per_step=config.rows_per_step,
        rows_per_micro_step=config.batch.rows_per_micro_step,
        normalisation=config.loss.normalisation,
        seed=config.seed,
        rank=0,
        world_size=1,
    )
    lengths = examples.lengths
    return Workload(
        examples=examples.n,
        tokens=int(lengths.sum()),
        target_tokens=int(examples.targets.counts.sum()),
        squared_lengths=int((lengths**2).sum()),
        rows=batches.rows_per_epoch,
        steps=batches.steps_per_epoch,
        longest=tuple(sorted(lengths.tolist(), reverse=True)[: config.rows_per_step]),
        vocab_size=vocab_size,
        source="counted in the prepared data",
        is_estimate=False,
    )


def _guessed(config: PlannedConfig) -> Workload:
    """From the texts, without their tokenizer."""
    _require_files(config)
    files = enumerate(config.data.files)
    records = ((number, record) for number, file in files for record in readable_records(file))
    guessed = (
        (
            number,
            1 + sum(map(_guess_tokens, render_prompts(record.exchanges))),
            sum(1 + _guess_tokens(each.output) for each in record.exchanges),
        )
        for number, record in records
        if all(exchange.output.strip() for exchange in record.exchanges)
    )
    file_of, prompts, answers = np.fromiter(guessed, np.dtype((np.int64, 3))).T
    fitting = prompts + answers <= config.data.row_tokens
    if not fitting.any():
        raise InputError(
            f"data.files: no record seems to fit data.row_tokens={config.data.row_tokens}: raise it"
        )
    times = times_in_epoch(file_of[fitting], config.data, config.seed)
    lengths = (prompts + answers)[fitting]
    return _estimate(
        config,
        examples=int(times.sum()),
        tokens=int((times * lengths).sum()),
        target_tokens=int((times * answers[fitting]).sum()),
        squared_lengths=int((times * lengths**2).sum()),
        source=(
            f"ESTIMATED from the texts: {ASCII_PER_TOKEN} letters or {OTHER_BYTES_PER_TOKEN} other "
            "bytes a token; `llama-gpt4 prepare` with the same keys counts"
        ),
    )


def _described(config: PlannedConfig, examples: int, tokens_per_example: float) -> Workload:
    tokens = round(examples * tokens_per_example)
    return _estimate(
        config,
        examples=examples,
        tokens=tokens,
        target_tokens=round(TARGET_SHARE * tokens),
        squared_lengths=round(SPREAD * tokens * tokens_per_example),
        source="ASSUMED by plan.examples and plan.tokens_per_example",
    )


def _estimate(
    config: PlannedConfig,
    *,
    examples: int,
    tokens: int,
    target_tokens: int,
    squared_lengths: int,
    source: str,
) -> Workload:
    is_packed = config.data.batching == "pack"
    rows = math.ceil(tokens / config.data.row_tokens) if is_packed else examples
    full, short = divmod(rows, config.rows_per_step)
    steps = full + (config.data.last_window == "keep" and short > 0)
    return Workload(
        examples=examples,
        tokens=tokens,
        target_tokens=target_tokens,
        squared_lengths=squared_lengths,
        rows=rows,
        steps=max(1, steps),
        longest=None,
        vocab_size=None,
        source=source,
        is_estimate=True,
    )


def _guess_tokens(text: str) -> int:
    n_bytes = len(text.encode())
    n_ascii = n_bytes if text.isascii() else sum(character.isascii() for character in text)
    return math.ceil(n_ascii / ASCII_PER_TOKEN + (n_bytes - n_ascii) / OTHER_BYTES_PER_TOKEN)


def _require_files(config: PlannedConfig) -> None:
    for file in config.data.files:
        if is_path(file) and not Path(file).expanduser().exists():
            raise InputError(
                f"{file} of data.files does not exist: name your files, or plan without them by "
                "plan.examples=52002 plan.tokens_per_example=222"
            )
