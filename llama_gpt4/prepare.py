"""Records become tokens once, before any process group exists; every later start opens the result.

Their folder in the cache holds `meta.json`, `tokenizer/`, `train/` and maybe `validation/`. These
two are `tokens.bin` (all examples end to end) and `examples.npy` (a row for each: offset in tokens,
length, length of its prompt, number of its file, index of its record).

An example is BOS + prompt + answer + EOS, and is used whole or not at all.
"""

import importlib.metadata
import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from llama_gpt4.asked import asked_of
from llama_gpt4.cache import cached, digest, fingerprint
from llama_gpt4.config import DataConfig, FilesConfig, RunConfig, TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import Prepared, Report, files_of, open_prepared, report_lines
from llama_gpt4.hub import TOKENIZER_FILES, local_snapshot
from llama_gpt4.prompt import CHAT_TEMPLATE, render_prompt
from llama_gpt4.records import Record, read_bytes, read_records

if TYPE_CHECKING:
    from llama_gpt4.tokenizer import Tokenizer

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
CODE = (
    "containers.py", "records.py", "prompt.py", "tokenizer.py", "sentencepiece_training.py",
    "prepare.py", "examples.py",
)  # fmt: skip
"""Modules whose text decides the tokens; it is part of the key."""
CHUNK_RECORDS = 1000
"""Tokenised at a time: bounds the memory, and paces the log."""


R = TypeVar("R")


class Named(Protocol):
    """A record, for messages."""

    @property
    def name(self) -> str: ...


def prepare(config: TrainConfig) -> Prepared:
    """The data that `config` asks for, tokenised now unless somebody did it before."""
    folder = cached(config.data, partial(cache_key, config), partial(_write, config))
    prepared = open_prepared(config.data, folder)
    return replace(prepared, asked=asked_of(config, prepared))


def cache_key(config: RunConfig, folder: Path = HERE, code: Sequence[str] = CODE) -> str:
    """A hash of all that decides a token: bytes of the data and tokenizer, lengths, and the text
    of our modules, which are `code` in `folder`."""
    data, tokenizer = config.data, tokenizer_path(config)
    decisive = {
        "files": [digest(read_bytes(file)) for file in data.files],
        "validation_files": [digest(read_bytes(file)) for file in data.validation.files],
        "share": [data.validation.share, config.seed] if data.validation.share else None,
        "row_tokens": data.row_tokens,
        "too_long": data.too_long,
        "tokenizer": (
            {"vocab_size": config.tokenizer.vocab_size}
            if tokenizer is None
            else _tokenizer_bytes(tokenizer)
        ),
        "code": {name: digest((folder / name).read_bytes()) for name in code},
        "libraries": {
            name: importlib.metadata.version(name) for name in ("sentencepiece", "tokenizers")
        },
    }
    return digest(json.dumps(decisive, sort_keys=True).encode())[:32]


def tokenizer_path(config: RunConfig) -> Path | None:
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
    return {"first": first} | {file.name: digest(file.read_bytes()) for file in files}


def _write(config: TrainConfig, draft: Path) -> None:
    parts = _read(config)
    read = parts["train"]
    texts = [render_prompt(r.instruction, r.input) for r in read] + [r.output for r in read]
    tokenizer = own_tokenizer(config, texts, draft / "tokenizer")
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
    report: Report = {"train": None, "validation": None}
    for part, records in parts.items():
        (draft / part).mkdir()
        files = files_of(config.data, part)
        report[part] = _write_examples(
            records, files, tokenizer, dtype, draft / part, config.data, part
        )
    meta = {
        "fingerprint": fingerprint(draft / "train", ("examples.npy", "tokens.bin")),
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


def _read(config: TrainConfig) -> dict[str, list[Record]]:
    """Records of `train` and, if asked for, of `validation`."""
    data = config.data
    records = [record for file in data.files for record in read_records(file)]
    if data.validation.files:
        held_out = [record for file in data.validation.files for record in read_records(file)]
        return {"train": records, "validation": held_out}
    if data.validation.share:
        train, held_out = split(records, data.validation.share, config.seed, asked)
        return {"train": train, "validation": held_out}
    return {"train": records}


def split(
    records: list[R], share: float, seed: int, prompt_of: Callable[[R], str]
) -> tuple[list[R], list[R]]:
    """Train and held out, at least one of each. Records with one prompt stay on one side."""
    count = round(share * len(records))
    if count == 0:
        raise InputError(
            f"data.validation.share={share} of {len(records)} records holds out none: "
            f"raise it to {1 / len(records):.2g}"
        )
    draws = [digest(f"{seed}\0{prompt_of(record)}".encode()) for record in records]
    last = sorted(draws)[count - 1]
    train = [record for record, draw in zip(records, draws, strict=True) if draw > last]
    if not train:
        raise InputError(
            f"data.validation.share={share} of {len(records)} records leaves none to train on: "
            "lower it"
        )
    return train, [record for record, draw in zip(records, draws, strict=True) if draw <= last]


def asked(record: Record) -> str:
    """What makes two records one prompt."""
    return f"{record.instruction}\0{record.input}"


def own_tokenizer(config: RunConfig, texts: Iterable[str], folder: Path) -> "Tokenizer":
    """The run's tokenizer, saved to `folder`; trained on `texts` where there is none yet."""
    from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

    folder.mkdir()
    path = tokenizer_path(config)
    if path is None:
        path = folder / "tokenizer.model"
        log.info("training a tokenizer of %d pieces", config.tokenizer.vocab_size)
        train_tokenizer(texts, config.tokenizer.vocab_size, path)
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
    answered = [record for record in records if record.output.strip() and not record.is_cut]
    n_cut = sum(record.is_cut for record in records)
    if not answered:
        whole = " that is not cut" if n_cut else ""
        raise InputError(f"{', '.join(files)}: no record for {part} has an output{whole}")
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
    check_too_long(too_long, lengths, data, part)
    np.save(folder / "examples.npy", np.array(table, np.int64))
    return {
        "read": len(records),
        "used": len(table),
        "dropped": {
            "empty_output": len(records) - len(answered) - n_cut,
            "cut_output": n_cut,
            "too_long": len(too_long),
        },
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


def check_too_long(
    too_long: Sequence[Named], lengths: list[int], data: FilesConfig, part: str
) -> None:
    """Refuse `part`, whose examples have `lengths`, where `data.too_long` asks for it."""
    advice = f"raise it to {row_that_keeps(0.99, lengths)} to keep 99 %, {max(lengths)} to keep all"
    row = f"data.row_tokens={data.row_tokens}"
    if len(too_long) == len(lengths):
        raise InputError(f"all {len(lengths)} examples for {part} are longer than {row}: {advice}")
    if too_long and data.too_long == "error":
        raise InputError(
            f"{len(too_long)} of {len(lengths)} examples for {part} are longer than {row}, the "
            f"first is {too_long[0].name}: {advice}, or drop them by data.too_long=drop"
        )


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
