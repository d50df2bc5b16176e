"""Tokenised data as a run reads it: memory-mapped, and named after the records it came from."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llama_gpt4.asked import NOTHING, Asked
from llama_gpt4.cache import digest
from llama_gpt4.config import TrainConfig
from llama_gpt4.data_config import FilesConfig
from llama_gpt4.errors import InputError
from llama_gpt4.mixture import times_in_epoch
from llama_gpt4.records import record_name
from llama_gpt4.targets import Targets

Ints = npt.NDArray[np.int64]
Report = dict[str, Any]

DROPPED_FOR = {
    "broken_record": "being broken",
    "empty_output": "an empty output",
    "cut_output": "an output that broke off",
    "cut_start": "an output without its first letters",
    "placeholder_input": "an input that is none",
    "wrong_language": "an output in another language",
    "evaluation_overlap": "overlap with the evaluation",
    "prompt_fills_row": "a prompt that fills the row",
    "too_long": "their length",
    "duplicate": "being there already",
    "same_prompt": "a prompt that is there already",
}
"""In words, by the finding."""
BEYOND_ROW = ("prompt_fills_row", "too_long")
"""The findings that a longer row would mend."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Tokenised examples in the order of their records, some of them repeatedly."""

    lengths: Ints
    """(n,) tokens of each example, BOS and EOS included."""
    prompt_lengths: Ints
    """(n,) tokens before the first that is learned, BOS included."""
    targets: Targets
    _tokens: npt.NDArray[Any]
    _offsets: Ints
    _places: Ints
    """(n, 2) number of the file and index of the record."""
    _files: list[str]

    @property
    def n(self) -> int:
        return len(self.lengths)

    def tokens_of(self, i: int) -> npt.NDArray[Any]:
        """(lengths[i],) ids of example `i`: an unsigned view of the memory-mapped file."""
        return self._tokens[self._offsets[i] : self._offsets[i] + self.lengths[i]]

    def record_name(self, i: int) -> str:
        """Where example `i` comes from, as in `file.json record 17`."""
        file, index = self._places[i].tolist()
        return record_name(self._files[file], index)

    @property
    def file_of(self) -> Ints:
        """(n,) number of the file that each example comes from."""
        return self._places[:, 0]

    def repeated(self, times: Ints) -> "Examples":
        """Example `i` as often as `times[i]` (n,) says, side by side, on the same tokens."""
        chosen = np.repeat(np.arange(self.n), times)
        return replace(
            self,
            lengths=self.lengths[chosen],
            prompt_lengths=self.prompt_lengths[chosen],
            targets=self.targets.chosen(chosen),
            _offsets=self._offsets[chosen],
            _places=self._places[chosen],
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """Data of a run, ready to be trained on."""

    folder: Path
    key: str
    """Hash of all that went in, our code and its libraries included."""
    fingerprint: str
    """Hash of the training examples that came out: equal tokens whatever the key."""
    train: Examples
    """Those of an epoch: each as often as `data.weights` says."""
    validation: Examples | None
    tokenizer_folder: Path
    vocab_size: int
    bos_id: int
    eos_id: int
    unk_id: int | None
    report: Report
    """For `train` and `validation` (or None): records `read` = `used` + the sum of `dropped`, which
    counts by finding. `findings`: by rule, its `policy`, how many records were `found` and for how
    many it is the reason that they are `dropped`, and the `records`. `sources`: each file, and the
    `language` of nearly all of its answers. `tokens` and `target_tokens` of the used, `longest` of
    them; `length_99_percent` and `length_100_percent`: the row that would hold so many of what was
    tokenised, `lengths` in a histogram; `languages`: what their answers cost in tokens. For `train`
    with `data.weights` also: `examples`, `tokens` and `target_tokens` of an `epoch`, and the
    `weight` of each source and how many of its examples are `in_epoch`."""
    asked: Asked
    """What the model is asked while it trains."""


def open_prepared(config: TrainConfig, folder: Path) -> Prepared:
    """What a finished cache folder holds, memory-mapped; files have the names and weights of
    `config`, and nothing is asked."""
    data = config.data
    try:
        meta = json.loads((folder / "meta.json").read_text())
        parts = {
            part: _open_examples(folder / part, np.dtype(meta["dtype"]), files_of(data, part))
            for part, report in meta["report"].items()
            if report is not None
        }
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"{folder} is damaged ({error}): delete it and start again") from error
    _name_files(data, meta["report"])
    prepared = Prepared(
        folder=folder,
        key=folder.name,
        fingerprint=meta["fingerprint"],
        train=parts["train"],
        validation=parts.get("validation"),
        tokenizer_folder=folder / "tokenizer",
        vocab_size=meta["vocab_size"],
        bos_id=meta["bos_id"],
        eos_id=meta["eos_id"],
        unk_id=meta["unk_id"],
        report=meta["report"],
        asked=NOTHING,
    )
    return _weighted(prepared, config) if data.weights else prepared


def _weighted(prepared: Prepared, config: TrainConfig) -> Prepared:
    """`prepared` with the epochs that `data.weights` asks for. The cache knows nothing of them: its
    tokens are what all weights share."""
    data = config.data
    times = times_in_epoch(prepared.train.file_of, data, config.seed)
    train = prepared.train.repeated(times)
    in_epoch = np.bincount(train.file_of, minlength=len(data.files)).tolist()
    of_train = dict(prepared.report["train"])
    of_train["sources"] = [
        source | {"weight": weight, "in_epoch": n}
        for source, weight, n in zip(of_train["sources"], data.weights, in_epoch, strict=True)
    ]
    of_train["epoch"] = {
        "examples": train.n,
        "tokens": int(train.lengths.sum()),
        "target_tokens": int(train.targets.counts.sum()),
    }
    fingerprint = prepared.fingerprint
    if (times != 1).any():
        fingerprint = digest(fingerprint.encode() + times.astype("<i8").tobytes())
    return replace(
        prepared,
        train=train,
        fingerprint=fingerprint,
        report=prepared.report | {"train": of_train},
    )


def _open_examples(folder: Path, dtype: np.dtype[Any], files: list[str]) -> Examples:
    table = np.load(folder / "examples.npy")
    offsets, lengths, prompt_lengths = (np.ascontiguousarray(table[:, i]) for i in range(3))
    tokens = np.memmap(folder / "tokens.bin", dtype, mode="r")
    if len(tokens) != lengths.sum():
        raise ValueError(f"{folder.name} holds {len(tokens)} tokens, not {lengths.sum()}")
    targets = Targets.from_table(np.load(folder / "targets.npy"), lengths)
    return Examples(lengths, prompt_lengths, targets, tokens, offsets, table[:, 3:], files)


def _name_files(data: FilesConfig, report: Report) -> None:
    """Put the names that `data` has for the files where the cache has their numbers."""
    for part, of_part in report.items():
        if of_part is None:
            continue
        files = files_of(data, part)
        found = (place for rule in of_part["findings"].values() for place in rule["records"])
        for place in (*of_part["sources"], *found):
            place["file"] = files[place["file"]]


def files_of(data: FilesConfig, part: str) -> list[str]:
    """Where the records of `part` come from."""
    return data.validation.files if part == "validation" and data.validation.files else data.files


def report_lines(prepared: Prepared) -> list[str]:
    """What was read, what is used and what was dropped, in words."""
    lines = []
    for part, report in prepared.report.items():
        if report is None:
            continue
        lines.append(
            f"{part}: {report['read']:,} records read, {report['used']:,} used, "
            f"{dropped_words(report['dropped'])}"
        )
        kept = [
            f"{finding['found']:,} {rule}"
            for rule, finding in report["findings"].items()
            if finding["policy"] == "keep" and finding["found"]
        ]
        if kept:
            lines.append(
                f"{part}: found and kept: {', '.join(kept)}; `llama-gpt4 prepare` lists them"
            )
        lines.append(
            f"{part}: {report['tokens']:,} tokens, {report['target_tokens']:,} of them learned; "
            f"the longest example has {report['longest']:,}"
        )
        if any(report["dropped"][rule] for rule in BEYOND_ROW):
            lines.append(f"{part}: {row_advice(report)}")
        if "epoch" in report:
            lines.append(f"{part}: {epoch_words(report)}")
    lines += [f"vocabulary: {prepared.vocab_size:,} pieces", f"tokens: {prepared.folder}"]
    return [*lines, f"asked: {prepared.asked.described}"] if prepared.asked.prompts else lines


def epoch_words(report: Report) -> str:
    """What `data.weights` makes of the examples that are used."""
    epoch = report["epoch"]
    sources = ", ".join(
        f"{source['in_epoch']:,} of {Path(source['file']).name} "
        f"({source['weight']:g} x {source['used']:,})"
        for source in report["sources"]
    )
    return (
        f"by data.weights an epoch has {epoch['examples']:,} examples: {sources}; "
        f"{epoch['tokens']:,} tokens, {epoch['target_tokens']:,} of them learned"
    )


def dropped_words(dropped: dict[str, int]) -> str:
    """What was dropped for what."""
    words = [f"{n:,} dropped for {DROPPED_FOR[rule]}" for rule, n in dropped.items() if n]
    return ", ".join(words) or "none dropped"


def row_advice(report: Report) -> str:
    """Which rows would hold what this one does not."""
    return (
        f"data.row_tokens={report['length_99_percent']} would hold 99 % of the examples, "
        f"data.row_tokens={report['length_100_percent']} all"
    )


def require_accepted(report: Report) -> None:
    """Refuse data in which something is found that has the policy `error`."""
    for part, of_part in report.items():
        for rule, finding in of_part["findings"].items() if of_part else ():
            if finding["policy"] != "error" or not finding["found"]:
                continue
            n, key, first = finding["found"], f"data.policy.{rule}", finding["records"][0]
            have = f"1 record for {part} has" if n == 1 else f"{n:,} records for {part} have"
            mend = row_advice(of_part) if rule in BEYOND_ROW else "mend what is there"
            raise InputError(
                f"{key}=error, and {have} it, first "
                f"{record_name(first['file'], first['record'])} ({first['found']}); "
                f"`llama-gpt4 prepare` lists all: {mend}, or say {key}=drop"
            )
