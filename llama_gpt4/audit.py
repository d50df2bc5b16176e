"""What is found in the records of a part of the data, and what becomes of each.

A record is asked by the rules in their order: faults of its text, then the length in tokens of what
those leave, then whether an earlier record that is used is the same. It is listed under every rule
that finds something, and counted as dropped under the first whose policy does not keep it, so

    read = used + the sum of dropped over the rules.

The policy `error` drops as well; whoever wants to train on the result is refused.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llama_gpt4.data_config import DataConfig
from llama_gpt4.decontamination import EvaluationOverlap
from llama_gpt4.language import language_of
from llama_gpt4.records import Record
from llama_gpt4.rouge import HAN
from llama_gpt4.validators import Validator, cut_start, empty, shown, wrong_language

RULES = (
    *("empty_output", "cut_output", "cut_start", "placeholder_input", "wrong_language"),
    "evaluation_overlap",
    *("prompt_fills_row", "too_long"),
    *("duplicate", "same_prompt"),
)
"""In the order in which they are asked."""

LANGUAGES = ("en", "zh", "other", "no words")
"""Of answers."""
CLAIM_SHARE = 0.9
"""Of its answers that are in one language, from which on a file claims to be in it."""
GLANCE_CHARACTERS = 120
"""Enough to tell the language of nearly all texts; who looks like a fault is read in full."""
CHINESE_BYTES = 2.5
"""A character of Chinese has 3 in UTF-8: with more than this on average nothing else is there."""
_FOREIGN_LETTER = re.compile(f"[^\\W\\d_A-Za-z{HAN}]")


@dataclass(slots=True)
class Entry:
    """A record that is read, and the language of its answer."""

    record: Record
    language: str


class Audit:
    """Asks the records of one part, in their order, and remembers what was found."""

    def __init__(self, data: DataConfig, files: Sequence[str], part: str) -> None:
        self._policy: dict[str, str] = asdict(data.policy)
        self._row_tokens = data.row_tokens
        self._numbers = {file: number for number, file in enumerate(files)}
        self._overlap = None
        # What is evaluated on is looked for in what is trained on.
        if data.decontaminate and part == "train":
            self._overlap = EvaluationOverlap(
                data.decontaminate, data.decontaminate_rouge_l, "data.decontaminate"
            )
        self._first: dict[tuple[str, ...], Record] = {}
        """Used, by all that stands before the last answer."""
        self._answers: dict[tuple[str, ...], dict[str, Record]] = {}
        """The same of prompts that are there again, and then by that answer."""
        self._found: dict[str, list[dict[str, Any]]] = {rule: [] for rule in RULES}
        self._read: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._claims: dict[str, str | None] = {}
        self._dropped: Counter[str] = Counter({rule: 0 for rule in RULES})

    def read(self, records: Sequence[Record]) -> list[Entry]:
        """Those of all `records` that no fault of their text drops."""
        entries = [Entry(record, answer_language(record.answered)) for record in records]
        self._read.update(record.file for record in records)
        self._claims = claims(entries)
        return [entry for entry in entries if self._stays(entry.record, self._text_faults(entry))]

    def takes(self, entry: Entry, prompt_tokens: int, tokens: int) -> bool:
        """Whether an entry that was left is used; it has so many tokens in all."""
        record = entry.record
        if tokens > self._row_tokens:
            rule = "prompt_fills_row" if prompt_tokens >= self._row_tokens else "too_long"
            return self._stays(record, [(rule, f"{tokens:,} tokens, {prompt_tokens:,} to ask")])
        prompt, output = record.prompt, record.exchanges[-1].output
        first = self._first.setdefault(prompt, record)
        if first is not record:
            answers = self._answers.setdefault(prompt, {first.exchanges[-1].output: first})
            same = answers.get(output)
            rule = "duplicate" if same else "same_prompt"
            file, index = self.place_of(same or first)
            found = f"as file {file + 1}, record {index}: {shown(record.instruction)}"
            if not self._stays(record, [(rule, found)]):
                return False
            answers.setdefault(output, record)
        self._used[record.file] += 1
        return True

    def place_of(self, record: Record) -> tuple[int, int]:
        """The number of its file, and its place there."""
        return self._numbers[record.file], record.index

    def report(self) -> dict[str, Any]:
        """What was found, rule by rule, and what the files hold; files are given by number."""
        return {
            "read": self._read.total(),
            "used": self._used.total(),
            "dropped": dict(self._dropped),
            "findings": {
                rule: {
                    "policy": self._policy[rule],
                    "found": len(self._found[rule]),
                    "dropped": self._dropped[rule],
                    "records": self._found[rule],
                }
                for rule in RULES
                if rule != "evaluation_overlap" or self._overlap is not None
            },
            "sources": [
                {
                    "file": number,
                    "read": self._read[file],
                    "used": self._used[file],
                    "language": self._claims.get(file),
                }
                for file, number in self._numbers.items()
            ],
        }

    def _stays(self, record: Record, faults: Iterable[tuple[str, str]]) -> bool:
        """Note the `faults` of a record; whether their policies keep it."""
        dropped_by = None
        for rule, excerpt in faults:
            file, index = self.place_of(record)
            self._found[rule].append({"file": file, "record": index, "found": excerpt})
            if dropped_by is None and self._policy[rule] != "keep":
                dropped_by = rule
        if dropped_by is not None:
            self._dropped[dropped_by] += 1
        return dropped_by is None

    def _text_faults(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Rules, and what to show of what they found."""
        record = entry.record
        nothing = _first_found(empty, record)
        if nothing is not None:
            yield "empty_output", nothing
        if record.is_cut:
            end = max(0, len(record.output) - GLANCE_CHARACTERS // 2)
            yield "cut_output", shown(record.output, end)
        cut = _first_found(cut_start, record)
        if cut is not None:
            yield "cut_start", cut
        if record.placeholder:
            yield "placeholder_input", shown(record.placeholder)
        wrong = _wrong_language(entry, self._claims[record.file])
        if wrong is not None:
            yield "wrong_language", wrong
        overlap = self._overlap.with_record(record) if self._overlap else None
        if overlap is not None:
            yield "evaluation_overlap", overlap


def _first_found(validator: Validator, record: Record) -> str | None:
    """What `validator` finds in the first answer of `record` in which it finds something."""
    found = (validator(*exchange, None) for exchange in record.exchanges)
    return next((excerpt for excerpt in found if excerpt is not None), None)


def _wrong_language(entry: Entry, claim: str | None) -> str | None:
    """Whether the answer, or all of a record, is in another language than its file; without a
    `claim`, whether the answer is in another one than its instruction."""
    record = entry.record
    asked = "\n".join(exchange.instruction for exchange in record.exchanges)
    asked_in = None if entry.language == claim else answer_language(asked)
    if entry.language in (claim or asked_in, "no words"):
        return None
    if claim and entry.language == asked_in:
        return shown(record.answered)
    return wrong_language(asked, record.input, record.answered, claim)


def answer_language(text: str) -> str:
    """One of `LANGUAGES`, at a glance."""
    glance = text[:GLANCE_CHARACTERS]
    if len(glance.encode()) > CHINESE_BYTES * len(glance) and not _FOREIGN_LETTER.search(glance):
        return "zh"  # as `language_of` would say, at a tenth of the cost
    found = language_of(glance)
    if found is None and len(text) > GLANCE_CHARACTERS:
        found = language_of(text)
    return found or "no words"


def claims(entries: Sequence[Entry]) -> dict[str, str | None]:
    """By file, the language that it is in; None: several."""
    found: dict[str, Counter[str]] = {}
    counts = Counter((entry.record.file, entry.language) for entry in entries)
    for (file, language), n in counts.items():
        if language != "no words":
            found.setdefault(file, Counter())[language] = n
    claimed: dict[str, str | None] = {entry.record.file: None for entry in entries}
    for file, languages in found.items():
        [(language, n)] = languages.most_common(1)
        if n >= CLAIM_SHARE * languages.total():
            claimed[file] = language
    return claimed
