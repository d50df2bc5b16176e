"""Records become tokens once, before any process group exists; every later start opens the result.

Their folder in the cache holds `meta.json`, `tokenizer/`, `train/` and maybe `validation/`. These
are `tokens.bin` (all examples end to end), `examples.npy` (a row for each: offset in tokens,
length, length of its prompt, number of its file, index of its record) and `targets.npy` (a row for
each answer: number of its example, place of its first token there, tokens).

An example is BOS + prompt + answer + EOS, and of a conversation the next prompt, the answer to it,
EOS and so on. It is used whole or not at all.
"""

import gc
import importlib.metadata
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llama_gpt4.asked import asked_of
from llama_gpt4.cache import cached, digest, fingerprint
from llama_gpt4.config import RunConfig, TrainConfig
from llama_gpt4.data_config import DataConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import Prepared, Report, files_of, open_prepared, require_accepted
from llama_gpt4.holdout import Holdout, asked
from llama_gpt4.hub import TOKENIZER_FILES, local_snapshot
from llama_gpt4.prompt import CHAT_TEMPLATE, render_prompts
from llama_gpt4.records import Record, digest_of, is_path, readable_records

if TYPE_CHECKING:
    from llama_gpt4.tokenizer import Tokenizer

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
CODE = (
    *("containers.py", "blocks.py", "json_window.py", "records.py", "fields.py"),
    *("conversations.py", "prompt.py"),
    *("tokenizer.py", "words.py", "sentencepiece_training.py", "prepare.py", "holdout.py"),
    *("inspection.py", "audit.py", "parts.py", "examples.py", "example_writer.py", "npy_file.py"),
    *("text_faults.py", "validators.py", "language.py", "decontamination.py", "questions.py"),
    *("similarity.py", "rouge.py", "first_places.py"),
)
"""Modules whose text decides the tokens or what is said of them; it is part of the key."""


def prepare(config: TrainConfig) -> Prepared:
    """The data that `config` asks for, tokenised now unless somebody did it before."""
    prepared = _opened(config)
    require_accepted(prepared.report)
    return prepared


def _opened(config: TrainConfig) -> Prepared:
    with _no_search_for_cycles():
        folder = cached(config.data, partial(cache_key, config), partial(_write, config))
    prepared = open_prepared(config, folder)
    return replace(prepared, asked=asked_of(config, prepared))


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Records and tables hold no cycles, and going through them again and again takes a tenth of
    the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def cache_key(config: RunConfig) -> str:
    """A hash of all that decides a token: bytes of the data and tokenizer, lengths, and the text
    of our modules."""
    data, tokenizer = config.data, tokenizer_path(config)
    decisive: dict[str, object] = {
        "files": [digest_of(file) for file in data.files],
        "validation_files": [digest_of(file) for file in data.validation.files],
        "share": [data.validation.share, config.seed] if data.validation.share else None,
        "row_tokens": data.row_tokens,
        "policy": asdict(data.policy),
        "tokenizer": (
            {"vocab_size": config.tokenizer.vocab_size}
            if tokenizer is None
            else _tokenizer_bytes(tokenizer)
        ),
        "code": code_digests(HERE, CODE),
        "libraries": {
            name: importlib.metadata.version(name) for name in ("sentencepiece", "tokenizers")
        },
    }
    if isinstance(data, DataConfig):
        decisive["decontaminate"] = [
            data.decontaminate_rouge_l,
            *map(_questions, data.decontaminate),
        ]
    return digest(json.dumps(decisive, sort_keys=True).encode())[:32]


def code_digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """A hash of the text of each of these modules."""
    return {name: digest((folder / name).read_bytes()) for name in names}


def _questions(file: str) -> tuple[str, str]:
    """The name by which the audit calls a file of questions, and its digest."""
    if is_path(file) and not Path(file).exists():
        raise InputError(f"data.decontaminate={file} does not exist")
    return Path(file).name, digest_of(file)


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
    from llama_gpt4.inspection import Inspection
    from llama_gpt4.parts import write_part

    data, holdout = config.data, _holdout(config)
    tokenizer = own_tokenizer(config, _texts(config, holdout), draft / "tokenizer")
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
    has_validation = data.validation.files or holdout
    parts = ["train", *(["validation"] if has_validation else [])]
    report: Report = {"train": None, "validation": None}
    for part in parts:
        (draft / part).mkdir()
        inspection = Inspection(data, part, holdout, draft / "tokenizer", dtype)
        report[part] = write_part(inspection, tokenizer, draft / part)
    meta = {
        "fingerprint": fingerprint(draft / "train", _decisive_files(draft / "train")),
        "dtype": dtype.name,
        "vocab_size": tokenizer.vocab_size,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "unk_id": tokenizer.unk_id,
        "tokenizer": tokenizer.fingerprint(),
        "files": {part: files_of(data, part) for part in parts},
        "report": report,
    }
    (draft / "meta.json").write_text(json.dumps(meta) + "\n")


def _decisive_files(folder: Path) -> list[str]:
    """Which files of the training examples decide what is learned from these records; of single
    answers examples.npy says all, and a run that began with them goes on."""
    n_examples, n_answers = (
        len(np.load(folder / name, mmap_mode="r")) for name in ("examples.npy", "targets.npy")
    )
    return ["examples.npy", "tokens.bin", *(["targets.npy"] if n_answers > n_examples else [])]


def _holdout(config: TrainConfig) -> Holdout | None:
    """What of the training records is held out."""
    data = config.data
    if not data.validation.share:
        return None
    return Holdout.of(map(asked, _records(data)), data.validation.share, config.seed)


def _texts(config: TrainConfig, holdout: Holdout | None) -> Iterator[str]:
    """All texts that are trained on."""
    for record in _records(config.data):
        if holdout is None or not holdout.has(asked(record)):
            yield from render_prompts(record.exchanges)
            yield from (exchange.output for exchange in record.exchanges)


def _records(data: DataConfig) -> Iterator[Record]:
    for file in data.files:
        yield from readable_records(file, broken=data.policy.broken_record)


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


def run(arguments: Sequence[str]) -> None:
    """Show what is in the data of a training run, keep it in `run_dir`, and refuse what its
    policies refuse."""
    from llama_gpt4.audit_report import audit_lines, batchings, write_audit
    from llama_gpt4.compose import training_config
    from llama_gpt4.program import show

    config = training_config(arguments)
    prepared = _opened(config)
    found = batchings(prepared, config)
    show("".join(f"{line}\n" for line in audit_lines(prepared, found)))
    show("".join(f"{line}\n" for line in write_audit(prepared, found, config)))
    require_accepted(prepared.report)


def main(argv: list[str] | None = None) -> int:
    """Prepare the data of a training run and say what came of it: `llama-gpt4 prepare …`."""
    from llama_gpt4.help import wants_help
    from llama_gpt4.program import run_program

    arguments = sys.argv[1:] if argv is None else argv
    if wants_help("train", TrainConfig, arguments):
        return 0
    return run_program("prepare", lambda _: run(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
