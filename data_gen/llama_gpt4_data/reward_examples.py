"""Tokenised comparisons as a run reads them: memory-mapped, named after the records they came from.

A folder of the cache holds `meta.json`, `tokenizer/`, `train/` and maybe `validation/`. These two
are `tokens.bin` (each prompt once, its responses after it) and tables of int64: `prompts.npy`
(offset in tokens, length, first response, first pair, number of its file, index of its record,
number of its subset, number of its language), `responses.npy` (offset, length, number of its
source), `pairs.npy` (places of a better and a worse response within their prompt), and `scores.npy`
in float64, NaN where a file has none. A last row of `prompts.npy` says where everything ends.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llama_gpt4.data_config import FilesConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import files_of
from llama_gpt4.records import record_name
from llama_gpt4_data.groups import Group

Ints = npt.NDArray[np.int64]

LANGUAGES = ("en", "zh", "other", "no words")
"""By their numbers."""
TABLES = ("prompts.npy", "responses.npy", "pairs.npy", "scores.npy")


@dataclass(frozen=True, eq=False)
class Compared:
    """Tokenised prompts with their responses and pairs, memory-mapped."""

    _prompts: Ints
    _responses: Ints
    pairs: Ints
    """(P, 2) places of a better and a worse response within their prompt."""
    scores: npt.NDArray[np.float64]
    """(R,); NaN where the order of the responses is all that is known."""
    _tokens: npt.NDArray[Any]
    sources: list[str]
    _subsets: list[str]
    _files: list[str]

    @property
    def n(self) -> int:
        """Prompts."""
        return len(self._prompts) - 1

    @property
    def shared_tokens(self) -> int:
        """Tokens of prompts, once for each response that comes after the first one."""
        further = np.diff(self._prompts[:, 2]) - 1
        return int((self._prompts[:-1, 1] * further).sum())

    def responses(self, i: int) -> range:
        """Numbers of the responses to prompt `i`."""
        return range(self._prompts[i, 2], self._prompts[i + 1, 2])

    def pairs_of(self, i: int) -> Ints:
        """(P, 2) of prompt `i`."""
        return self.pairs[self._prompts[i, 3] : self._prompts[i + 1, 3]]

    def scores_of(self, i: int) -> npt.NDArray[np.float64]:
        """(K,) of the responses to prompt `i`."""
        return self.scores[self._prompts[i, 2] : self._prompts[i + 1, 2]]

    def answer_lengths_of(self, i: int) -> Ints:
        """(K,) tokens of each response to prompt `i`, without its prompt."""
        return self._responses[self._prompts[i, 2] : self._prompts[i + 1, 2], 1]

    def prompt_of(self, i: int) -> npt.NDArray[Any]:
        """The tokens of prompt `i` alone."""
        start, length = self._prompts[i, :2]
        return self._tokens[start : start + length]

    def group_of(self, i: int) -> Group:
        """The lengths of prompt `i` and its responses."""
        return Group(int(self._prompts[i, 1]), tuple(self.answer_lengths_of(i).tolist()))

    def group_tokens_of(self, i: int) -> npt.NDArray[Any]:
        """Prompt `i` and its responses after it."""
        return self._tokens[self._prompts[i, 0] : self._prompts[i + 1, 0]]

    def tokens_of(self, i: int) -> list[npt.NDArray[Any]]:
        """Prompt `i` and a response, for each of them."""
        prompt = self.prompt_of(i)
        rows = self._responses[self._prompts[i, 2] : self._prompts[i + 1, 2]]
        return [np.concatenate([prompt, self._tokens[at : at + n]]) for at, n, _ in rows]

    def sources_of(self, i: int) -> list[str]:
        """Whose the responses to prompt `i` are."""
        return [self.sources[s] for s in self._responses[self.responses(i), 2]]

    def subset_of(self, i: int) -> str | None:
        """The part of a benchmark that prompt `i` is from, where its record names one."""
        number = self._prompts[i, 6]
        return self._subsets[number] if number >= 0 else None

    def language_of(self, i: int) -> str:
        """What prompt `i` is asked in, one of `LANGUAGES`."""
        return LANGUAGES[self._prompts[i, 7]]

    def record_name(self, i: int) -> str:
        file, index = self._prompts[i, 4:6].tolist()
        return record_name(self._files[file], index)


@dataclass(frozen=True, eq=False)
class PreparedComparisons:
    """Data of a run, ready to be trained on."""

    folder: Path
    fingerprint: str
    train: Compared
    validation: Compared | None
    tokenizer_folder: Path
    vocab_size: int
    ids: dict[str, int | None]
    """Of BOS, EOS and pad, as `bos_id` and so on."""
    report: dict[str, Any]


def open_prepared(data: FilesConfig, folder: Path) -> PreparedComparisons:
    """What a finished cache folder holds, memory-mapped; the files are called as `data` does."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        parts = {
            part: open_part(folder / part, meta["dtype"], meta["names"][part], files_of(data, part))
            for part, report in meta["report"].items()
            if report is not None
        }
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"{folder} is damaged ({error}): delete it and start again") from error
    return PreparedComparisons(
        folder=folder,
        fingerprint=meta["fingerprint"],
        train=parts["train"],
        validation=parts.get("validation"),
        tokenizer_folder=folder / "tokenizer",
        vocab_size=meta["vocab_size"],
        ids=meta["ids"],
        report=meta["report"],
    )


def open_part(folder: Path, dtype: str, names: dict[str, list[str]], files: list[str]) -> Compared:
    """What a `Writer` has written; `names` are its own."""
    prompts, responses, pairs, scores = (np.load(folder / name) for name in TABLES)
    tokens = np.memmap(folder / "tokens.bin", dtype, mode="r")
    if len(tokens) != prompts[-1, 0]:
        raise ValueError(f"{folder.name} holds {len(tokens)} tokens, not {prompts[-1, 0]}")
    return Compared(
        prompts, responses, pairs, scores, tokens, names["sources"], names["subsets"], files
    )


def report_lines(prepared: PreparedComparisons) -> list[str]:
    """What was read, what is used and what was dropped, in words."""
    lines = []
    for part, report in prepared.report.items():
        if report is None:
            continue
        lines += part_lines(part, report)
        compared = prepared.train if part == "train" else prepared.validation
        assert compared is not None
        apart = report["tokens"] + compared.shared_tokens
        lines.append(
            f"{part}: {report['tokens']:,} tokens, a prompt once for all its responses: "
            f"{100 * compared.shared_tokens / apart:.0f} % fewer than with each"
        )
        if report["too_long_responses"]:
            lines.append(
                f"{part}: {report['too_long_responses']:,} responses are too long: "
                f"data.row_tokens={report['length_99_percent']} would hold 99 % of them, "
                f"data.row_tokens={report['length_100_percent']} all"
            )
    return [*lines, f"vocabulary: {prepared.vocab_size:,} pieces", f"tokens: {prepared.folder}"]


def part_lines(part: str, report: dict[str, Any]) -> list[str]:
    """The same of one part."""
    dropped = report["dropped"]
    lines = [
        f"{part}: {report['read']:,} comparisons read, {report['used']:,} used, "
        f"{dropped['no_pair']:,} dropped without a better and a worse response, "
        f"{dropped['too_long']:,} for their length",
        f"{part}: {report['pairs']:,} pairs of {report['responses']:,} responses; left out: "
        f"{report['ties']:,} ties, {report['same_text']:,} of the same text, "
        f"{report['empty_responses']:,} empty responses",
    ]
    if report["scores_out_of_range"]:
        lines.append(f"{part}: {report['scores_out_of_range']:,} scores are not within 1 to 10")
    if report["unscored"]:
        lines.append(f"{part}: {report['unscored']:,} comparisons have an order and no scores")
    return lines
