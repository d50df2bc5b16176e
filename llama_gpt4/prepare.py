"""Records become tokens once, before any process group exists; every later start opens the result.

1. The key is a hash of all that decides a token. `<cache_dir>/<key>/` exists whole or not at all.
2. Whoever comes first builds it under a lock; the others wait for the lock, then open it.
3. It holds `meta.json`, `tokenizer/`, `train/` and maybe `validation/`. These two are `tokens.bin`
   (all examples end to end) and `examples.npy` (a row for each: offset in tokens, length, length
   of its prompt, number of its file, index of its record).

An example is BOS + prompt + answer + EOS, and is used whole or not at all.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llama_gpt4.config import DataConfig, TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import Prepared, Report, files_of, open_prepared, report_lines
from llama_gpt4.hub import TOKENIZER_FILES, local_snapshot
from llama_gpt4.prompt import CHAT_TEMPLATE, render_prompt
from llama_gpt4.records import Record, read_bytes, read_records

if TYPE_CHECKING:
    from llama_gpt4.tokenizer import Tokenizer

log = logging.getLogger(__name__)

CODE = ("records.py", "prompt.py", "tokenizer.py", "prepare.py", "examples.py")
"""Modules whose text decides the tokens; it is part of the key."""
CHUNK_RECORDS = 1000
"""Tokenised at a time: bounds the memory, and paces the log."""


def prepare(config: TrainConfig) -> Prepared:
    """The data that `config` asks for, tokenised now unless somebody did it before."""
    key = cache_key(config)
    cache = Path(config.data.cache_dir).expanduser()
    folder = cache / key
    if not folder.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with _lock(cache / f"{key}.lock"):
                if not folder.is_dir():
                    _build(config, key, folder)
        except OSError as error:
            raise InputError(
                f"data.cache_dir={config.data.cache_dir} cannot be written "
                f"({error.strerror or error}): choose another"
            ) from error
    return open_prepared(config.data, folder)


def cache_key(config: TrainConfig) -> str:
    """A hash of all that decides a token: bytes of the data and tokenizer, lengths, our code."""
    data, tokenizer = config.data, tokenizer_path(config)
    here = Path(__file__).parent
    decisive = {
        "files": [_digest(read_bytes(file)) for file in data.files],
        "validation_files": [_digest(read_bytes(file)) for file in data.validation.files],
        "share": [data.validation.share, config.seed] if data.validation.share else None,
        "row_tokens": data.row_tokens,
        "too_long": data.too_long,
        "tokenizer": (
            {"vocab_size": config.tokenizer.vocab_size}
            if tokenizer is None
            else _tokenizer_bytes(tokenizer)
        ),
        "code": {name: _digest((here / name).read_bytes()) for name in CODE},
        "libraries": {
            name: importlib.metadata.version(name) for name in ("sentencepiece", "tokenizers")
        },
    }
    return _digest(json.dumps(decisive, sort_keys=True).encode())[:32]


def tokenizer_path(config: TrainConfig) -> Path | None:
    """The file or folder of the tokenizer on this machine; None: it is trained on the data."""
    if config.tokenizer.path is not None:
        if Path(config.tokenizer.path).is_file():
            return Path(config.tokenizer.path)
        return local_snapshot(config.tokenizer.path, key="tokenizer.path", wanted=TOKENIZER_FILES)
    return None if config.model.path is None else local_snapshot(config.model.path)


def _tokenizer_bytes(path: Path) -> dict[str, str]:
    """Digests of the files that decide how the tokenizer at `path` works, and which comes first."""
    folder, first = (path.parent, path.name) if path.is_file() else (path, "")
    names = {first, *TOKENIZER_FILES}
    files = [folder / name for name in sorted(names) if (folder / name).is_file()]
    return {"first": first} | {file.name: _digest(file.read_bytes()) for file in files}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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


def _build(config: TrainConfig, key: str, folder: Path) -> None:
    """Make `folder` appear, complete. The lock is held."""
    # The host is in the name for file systems that lock within one host only.
    mine = f"{key}.{socket.gethostname()}"
    for dead in folder.parent.glob(f"{mine}.*.tmp"):
        shutil.rmtree(dead)
    draft = folder.with_name(f"{mine}.{os.getpid()}.tmp")
    draft.mkdir()
    try:
        _write(config, draft)
        if cache_key(config) != key:
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


def _write(config: TrainConfig, draft: Path) -> None:
    parts = _read(config)
    tokenizer = _tokenizer(config, parts["train"], draft / "tokenizer")
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
    report: Report = {"train": None, "validation": None}
    for part, records in parts.items():
        (draft / part).mkdir()
        files = files_of(config.data, part)
        report[part] = _write_examples(
            records, files, tokenizer, dtype, draft / part, config.data, part
        )
    meta = {
        "fingerprint": _fingerprint(draft / "train"),
        "dtype": dtype.name,
        "vocab_size": tokenizer.vocab_size,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "unk_id": tokenizer.unk_id,
        "tokenizer": tokenizer.fingerprint(),
        "files": {part: files_of(config.data, part) for part in parts},
        "report": report,
    }
    (draft / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def _fingerprint(folder: Path) -> str:
    whole = hashlib.sha256()
    for name in ("examples.npy", "tokens.bin"):
        with open(folder / name, "rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _read(config: TrainConfig) -> dict[str, list[Record]]:
    """Records of `train` and, if asked for, of `validation`."""
    data = config.data
    records = [record for file in data.files for record in read_records(file)]
    if data.validation.files:
        held_out = [record for file in data.validation.files for record in read_records(file)]
        return {"train": records, "validation": held_out}
    if data.validation.share:
        train, held_out = split(records, data.validation.share, config.seed)
        return {"train": train, "validation": held_out}
    return {"train": records}


def split(records: list[Record], share: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Train and held out, at least one of each. Records with one prompt stay on one side."""
    count = round(share * len(records))
    if count == 0:
        raise InputError(
            f"data.validation.share={share} of {len(records)} records holds out none: "
            f"raise it to {1 / len(records):.2g}"
        )
    draws = [_digest(f"{seed}\0{r.instruction}\0{r.input}".encode()) for r in records]
    last = sorted(draws)[count - 1]
    train = [record for record, draw in zip(records, draws, strict=True) if draw > last]
    if not train:
        raise InputError(
            f"data.validation.share={share} of {len(records)} records leaves none to train on: "
            "lower it"
        )
    return train, [record for record, draw in zip(records, draws, strict=True) if draw <= last]


def _tokenizer(config: TrainConfig, records: list[Record], folder: Path) -> "Tokenizer":
    """The run's tokenizer, saved to `folder`; trained on `records` where there is none yet."""
    from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

    folder.mkdir()
    path = tokenizer_path(config)
    if path is None:
        path = folder / "tokenizer.model"
        log.info("training a tokenizer of %d pieces", config.tokenizer.vocab_size)
        texts = [render_prompt(r.instruction, r.input) for r in records]
        train_tokenizer(texts + [r.output for r in records], config.tokenizer.vocab_size, path)
    tokenizer = Tokenizer.load(path)
    tokenizer.save(folder, chat_template=CHAT_TEMPLATE, max_tokens=config.data.row_tokens)
    return tokenizer


def _write_examples(
    records: list[Record],
    files: list[str],
    tokenizer: "Tokenizer",
    dtype: np.dtype[Any],
    folder: Path,
    data: DataConfig,
    part: str,
) -> Report:
    """Write tokens.bin and examples.npy of `records`, and report on them."""
    answered = [record for record in records if record.output.strip()]
    if not answered:
        raise InputError(f"{', '.join(files)}: no record for {part} has an output")
    number = {file: i for i, file in enumerate(files)}
    lengths: list[int] = []
    table: list[tuple[int, int, int, int, int]] = []
    too_long: list[Record] = []
    offset = 0
    with open(folder / "tokens.bin", "wb") as tokens:
        for start in range(0, len(answered), CHUNK_RECORDS):
            chunk = answered[start : start + CHUNK_RECORDS]
            ids: list[int] = []
            for record, prompt, answer in _encode(chunk, tokenizer):
                length = len(prompt) + len(answer)
                lengths.append(length)
                if length > data.row_tokens:
                    too_long.append(record)
                    continue
                table.append((offset, length, len(prompt), number[record.file], record.index))
                offset += length
                ids += prompt
                ids += answer
            np.array(ids, dtype).tofile(tokens)
            log.info("%s: tokenised %d of %d records", part, len(lengths), len(answered))
    _check_too_long(too_long, lengths, data, part)
    np.save(folder / "examples.npy", np.array(table, np.int64))
    return {
        "read": len(records),
        "used": len(table),
        "dropped": {"empty_output": len(records) - len(answered), "too_long": len(too_long)},
        "tokens": offset,
        "target_tokens": offset - sum(row[2] for row in table),
        "longest": max(row[1] for row in table),
        "length_99_percent": row_that_keeps(0.99, lengths),
        "length_100_percent": max(lengths),
    }


def _encode(
    records: list[Record], tokenizer: "Tokenizer"
) -> Iterator[tuple[Record, list[int], list[int]]]:
    """Each record with the ids of its prompt and of its answer, which are never joined as text."""
    prompts = tokenizer.encode_prompts([render_prompt(r.instruction, r.input) for r in records])
    answers = tokenizer.encode_answers([r.output for r in records])
    for record, prompt, answer in zip(records, prompts, answers, strict=True):
        # Text that spells a special token must stay text: a second EOS would teach to stop early.
        assert prompt.count(tokenizer.bos_id) == 1 and prompt[0] == tokenizer.bos_id, record.name
        assert answer.count(tokenizer.eos_id) == 1 and answer[-1] == tokenizer.eos_id, record.name
        yield record, prompt, answer


def row_that_keeps(share: float, lengths: list[int]) -> int:
    """The shortest row that holds at least `share` of examples of these lengths."""
    return sorted(lengths)[math.ceil(share * len(lengths)) - 1]


def _check_too_long(
    too_long: list[Record], lengths: list[int], data: DataConfig, part: str
) -> None:
    advice = f"raise it to {row_that_keeps(0.99, lengths)} to keep 99 %, {max(lengths)} to keep all"
    row = f"data.row_tokens={data.row_tokens}"
    if len(too_long) == len(lengths):
        raise InputError(f"all {len(lengths)} examples for {part} are longer than {row}: {advice}")
    if too_long and data.too_long == "error":
        raise InputError(
            f"{len(too_long)} of {len(lengths)} examples for {part} are longer than {row}, the "
            f"first is {too_long[0].name}: {advice}, or drop them by data.too_long=drop"
        )


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


def main(argv: list[str] | None = None) -> int:
    """Prepare the data of a training run and say what came of it: `llama-gpt4 prepare …`."""
    from llama_gpt4.compose import training_config
    from llama_gpt4.help import wants_help
    from llama_gpt4.program import run_program

    arguments = sys.argv[1:] if argv is None else argv
    if wants_help("train", TrainConfig, arguments):
        return 0
    return run_program(
        "prepare", lambda _: print(*report_lines(prepare(training_config(arguments))), sep="\n")
    )


if __name__ == "__main__":
    raise SystemExit(main())
