"""Comparisons to tokens and tables, counting what became of each.

A response is read as BOS + prompt + response + EOS, and is used whole or not at all.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from llama_gpt4.errors import InputError
from llama_gpt4.example_writer import advice, require_some_fit, row_that_keeps
from llama_gpt4.examples import files_of
from llama_gpt4.language import language_of
from llama_gpt4.prompt import render_chat, render_prompt
from llama_gpt4_data.comparisons import Comparison
from llama_gpt4_data.pairs import UNKNOWN, Pair, Paired, paired
from llama_gpt4_data.reward_config import ComparisonFilesConfig
from llama_gpt4_data.reward_examples import LANGUAGES, TABLES

CHUNK_RECORDS = 1000
"""Tokenised at a time: bounds the memory."""


class Encoder(Protocol):
    """A tokenizer: our own, or that of a model of `transformers`."""

    def encode_prompts(self, texts: Sequence[str]) -> list[list[int]]: ...
    def encode_answers(self, texts: Sequence[str]) -> list[list[int]]: ...


def rendered(comparison: Comparison) -> str:
    """The prompt in Alpaca's frame, whether or not the file had it in that already."""
    first, *later = comparison.turns
    if not later and first["role"] == "user":
        return render_prompt(first["content"], first.get("input") or "")
    try:
        # Turns are told apart by their headings: marks of begin and end are not for text.
        text = render_chat(comparison.turns, bos_token="", eos_token="")
    except InputError as error:
        raise InputError(f"{comparison.name}: {error}") from None
    if comparison.turns[-1]["role"] != "user":
        raise InputError(f"{comparison.name}: the last turn before the answers is not the user's")
    return text


@dataclass
class Writer:
    """Writes one part, and counts what became of what it was given."""

    data: ComparisonFilesConfig
    part: str
    needs_scores: bool
    """Whether a comparison without scores is refused."""
    folder: Path
    dtype: np.dtype[Any]
    names: dict[str, list[str]] = field(default_factory=lambda: {"sources": [], "subsets": []})
    """What the tables have numbers for."""
    dropped: Counter[str] = field(default_factory=Counter)
    n_tokens: int = 0
    prompts: list[tuple[int, ...]] = field(default_factory=list)
    responses: list[tuple[int, int, int]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    too_long: list[Comparison] = field(default_factory=list)

    def write(self, comparisons: Sequence[Comparison], tokenizer: Encoder) -> dict[str, Any]:
        """Write the tables and tokens of `comparisons`; what became of them, in counts."""
        result = paired(comparisons, keep_out_of_range=self.data.out_of_range == "keep")
        files = files_of(self.data, self.part)
        usable = [
            (comparison, pairs)
            for comparison, pairs in zip(result.comparisons, result.pairs, strict=True)
            if pairs
        ]
        if self.needs_scores:
            _require_scores([comparison for comparison, _ in usable])
        if not usable:
            raise InputError(
                f"{', '.join(files)}: no comparison for {self.part} has a better and a worse "
                f"response ({result.candidates['ties']} ties, {result.responses['empty']} empty "
                "responses)"
            )
        with open(self.folder / "tokens.bin", "wb") as out:
            for start in range(0, len(usable), CHUNK_RECORDS):
                ids = self._add(usable[start : start + CHUNK_RECORDS], files, tokenizer)
                np.array(ids, self.dtype).tofile(out)
        self._require_short_enough()
        self.prompts.append((self.n_tokens, 0, len(self.responses), len(self.pairs), 0, 0, 0, 0))
        for name, rows in zip(
            TABLES, (self.prompts, self.responses, self.pairs, self.scores), strict=True
        ):
            kind = np.float64 if name == "scores.npy" else np.int64
            np.save(self.folder / name, np.array(rows, kind))
        return self._report(result)

    def _require_short_enough(self) -> None:
        """Refuse responses that are too long, if that is asked for or leaves nothing."""
        n_by_length = np.bincount(self.lengths)
        require_some_fit(n_by_length, self.data, self.part)
        if self.too_long and self.data.policy.too_long == "error":
            raise InputError(
                f"{len(self.too_long)} of {len(self.lengths)} examples for {self.part} are longer "
                f"than data.row_tokens={self.data.row_tokens}, the first is "
                f"{self.too_long[0].name}: {advice(n_by_length)}, or drop them by "
                "data.policy.too_long=drop"
            )
        if not self.prompts:
            raise InputError(
                f"no comparison for {self.part} has two responses to compare within "
                f"data.row_tokens={self.data.row_tokens}: {advice(n_by_length)}"
            )

    def _add(
        self, chunk: list[tuple[Comparison, list[Pair]]], files: list[str], tokenizer: Encoder
    ) -> list[int]:
        """The tokens of a chunk of comparisons, which enter the tables."""
        prompts = tokenizer.encode_prompts([rendered(comparison) for comparison, _ in chunk])
        answers = iter(tokenizer.encode_answers([r.text for c, _ in chunk for r in c.responses]))
        tokens: list[int] = []
        for (comparison, pairs), prompt in zip(chunk, prompts, strict=True):
            encoded = {id(response): next(answers) for response in comparison.responses}
            short = self._short_enough(comparison, prompt, encoded)
            kept = [p for p in pairs if id(p.chosen) in short and id(p.rejected) in short]
            if not kept:
                self.dropped["too_long"] += 1
                continue
            tokens += self._add_one(comparison, kept, prompt, encoded, files)
        return tokens

    def _short_enough(
        self, comparison: Comparison, prompt: list[int], encoded: dict[int, list[int]]
    ) -> set[int]:
        short = set()
        for key, answer in encoded.items():
            self.lengths.append(len(prompt) + len(answer))
            if self.lengths[-1] <= self.data.row_tokens:
                short.add(key)
            else:
                self.too_long.append(comparison)
        return short

    def _add_one(
        self,
        comparison: Comparison,
        pairs: list[Pair],
        prompt: list[int],
        encoded: dict[int, list[int]],
        files: list[str],
    ) -> list[int]:
        in_pairs = {id(response) for pair in pairs for response in (pair.chosen, pair.rejected)}
        kept = [response for response in comparison.responses if id(response) in in_pairs]
        place = {id(response): k for k, response in enumerate(kept)}
        where = (files.index(comparison.file), comparison.index)
        begin = (self.n_tokens, len(prompt), len(self.responses), len(self.pairs))
        self.prompts.append((*begin, *where, *self._kind(comparison)))
        self.pairs += [(place[id(pair.chosen)], place[id(pair.rejected)]) for pair in pairs]
        tokens = list(prompt)
        for response in kept:
            answer = encoded[id(response)]
            source = self._number("sources", response.source or UNKNOWN)
            self.responses.append((self.n_tokens + len(tokens), len(answer), source))
            self.scores.append(float("nan") if response.score is None else response.score)
            tokens += answer
        self.n_tokens += len(tokens)
        return tokens

    def _kind(self, comparison: Comparison) -> tuple[int, int]:
        """Numbers of the subset and of the language of what the user said last."""
        asked = comparison.turns[-1]
        language = language_of(f"{asked['content']}\n{asked.get('input', '')}")
        subset = comparison.subset
        number = -1 if subset is None else self._number("subsets", subset)
        return number, LANGUAGES.index(language or "no words")

    def _number(self, kind: str, name: str) -> int:
        names = self.names[kind]
        if name not in names:
            names.append(name)
        return names.index(name)

    def _report(self, result: Paired) -> dict[str, Any]:
        n_read = len(result.comparisons)
        untold = sum(not pairs for pairs in result.pairs)
        return {
            "read": n_read,
            "used": len(self.prompts) - 1,
            "dropped": {"no_pair": untold, "too_long": self.dropped["too_long"]},
            "responses": len(self.responses),
            "empty_responses": result.responses["empty"],
            "scores_out_of_range": result.n_out_of_range,
            "unscored": result.n_unscored,
            "pairs": len(self.pairs),
            "ties": result.candidates["ties"],
            "same_text": result.candidates["same_text"],
            "too_long_responses": len(self.too_long),
            "tokens": self.n_tokens,
            "longest": max(n for n in self.lengths if n <= self.data.row_tokens),
            "length_99_percent": row_that_keeps(0.99, np.bincount(self.lengths)),
            "length_100_percent": max(self.lengths),
        }


def _require_scores(comparisons: Sequence[Comparison]) -> None:
    for comparison in comparisons:
        if not comparison.is_scored:
            raise InputError(
                f"{comparison.name} has no scores, which loss.kind=margin is made of: use "
                "loss.kind=pairwise"
            )
