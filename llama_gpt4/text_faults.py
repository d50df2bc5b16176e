"""What can be wrong with the texts of a record, each fault under the name of a rule."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from llama_gpt4.data_config import DataConfig
from llama_gpt4.decontamination import EvaluationOverlap
from llama_gpt4.language import language_of
from llama_gpt4.records import Record
from llama_gpt4.rouge import HAN
from llama_gpt4.validators import Validator, cut_start, empty, shown, wrong_language

LANGUAGES = ("en", "zh", "other", "no words")
"""Of answers."""
CLAIM_SHARE = 0.9
"""Of its answers that are in one language, from which on a file claims to be in it."""
GLANCE_CHARACTERS = 120
"""Enough to tell the language of nearly all texts; who looks like a fault is read in full."""
CHINESE_BYTES = 2.5
"""A character of Chinese has 3 in UTF-8: with more than this on average nothing else is there."""
_FOREIGN_LETTER = re.compile(f"[^\\W\\d_A-Za-z{HAN}]")


class TextFaults:
    """Finds the faults in the texts of records of a part of the data."""

    def __init__(self, data: DataConfig, part: str) -> None:
        self._overlap = None
        # What is evaluated on is looked for in what is trained on.
        if data.decontaminate and part == "train":
            self._overlap = EvaluationOverlap(
                data.decontaminate, data.decontaminate_rouge_l, "data.decontaminate"
            )

    def of(self, record: Record, language: str, claim: str | None) -> Iterator[tuple[str, str]]:
        """Rules, and what to show of what they found; the answer is in `language`, and those of
        its file, nearly all, in `claim`."""
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
        wrong = _wrong_language(record, language, claim)
        if wrong is not None:
            yield "wrong_language", wrong
        overlap = self._overlap.with_record(record) if self._overlap else None
        if overlap is not None:
            yield "evaluation_overlap", overlap


def _first_found(validator: Validator, record: Record) -> str | None:
    """What `validator` finds in the first answer of `record` in which it finds something."""
    found = (validator(*exchange, None) for exchange in record.exchanges)
    return next((excerpt for excerpt in found if excerpt is not None), None)


def _wrong_language(record: Record, language: str, claim: str | None) -> str | None:
    """Whether the answer, or all of a record, is in another language than its file; without a
    `claim`, whether the answer is in another one than its instruction."""
    asked = "\n".join(exchange.instruction for exchange in record.exchanges)
    asked_in = None if language == claim else answer_language(asked)
    if language in (claim or asked_in, "no words"):
        return None
    if claim and language == asked_in:
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


def claim_of(languages: Mapping[str, int]) -> str | None:
    """The language that a file is in, whose answers are in `languages`, counted; None: several."""
    worded = Counter({name: n for name, n in languages.items() if name != "no words"})
    for language, n in worded.most_common(1):
        if n >= CLAIM_SHARE * worded.total():
            return language
    return None
