"""`llama-gpt4 data translate`: instructions in another language, to be answered in it, as ChatGPT
translated the paper's English ones into Chinese; or a model's answers, to be judged in it, as GPT-4
translated those of the paper's Figure 5."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from llama_gpt4.compose import compose
from llama_gpt4.errors import require, require_one_of
from llama_gpt4.help import wants_help
from llama_gpt4.program import run_program
from llama_gpt4_data.answer_files import read_model_answers
from llama_gpt4_data.card import About
from llama_gpt4_data.endpoint_config import EndpointConfig, chat_request
from llama_gpt4_data.estimable import Estimable
from llama_gpt4_data.findings import asked_again, asked_longer, reply_findings
from llama_gpt4_data.generation_config import PricesConfig, RunConfig
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.sources import Source, read_sources
from llama_gpt4_data.task import Made, run_task
from llama_gpt4_data.translations import (
    LANGUAGES,
    Text,
    TranslationLimits,
    answer_translation_prompt,
    read_translated_answer,
    read_translation,
    translation_findings,
    translation_prompt,
)

PROGRAM = "data_gen/translate"


@dataclass(kw_only=True)
class TranslationPolicies:
    """For each finding `keep` the translation and say so in its record, `drop` it, or `retry`: ask
    once more, and keep what comes then. No translation is paid more than twice."""

    unreadable: str
    """The reply does not have the text between tags: `drop`, or `retry`; never kept."""
    truncated: str
    """Cut at the longest answer; `retry` asks for one of up to twice the length."""
    lost_part: str
    """Code, a placeholder, a link or a gap to fill in is not what it was."""
    lost_number: str
    structure: str
    """Other lines or items of lists than in the source."""
    wrong_language: str
    """The instruction is not in the language that it was to be translated into."""
    input_untranslated: str
    """The input is still in its language, as it has to be where the task is about that."""
    answered: str
    """Much longer than the source, or with an input where there was none: more likely an answer."""
    shortened: str
    """Much shorter than the source."""

    def __post_init__(self) -> None:
        for field in fields(self):
            never_kept = field.name == "unreadable"
            allowed = ("drop", "retry") if never_kept else ("keep", "drop", "retry")
            require_one_of(f"policy.{field.name}", getattr(self, field.name), allowed)

    def of(self, finding: str) -> str:
        # What the content filter stopped has no tags, which is what counts.
        return "keep" if finding == "filtered" else str(getattr(self, finding))


@dataclass(kw_only=True)
class TranslateConfig:
    """Which tasks are translated."""

    what: str
    """`tasks`: instructions and inputs of records as for `data answer`, whose answers are not
    translated; `answers`: of a model, in `answers.jsonl`, FastChat's layout or records with an
    `output`. What is made of them is for `evaluate metric=judge`."""
    files: list[str]
    """JSON or JSONL."""
    limit: int | None
    """Only the first so many records, such as for a pilot; null: all."""
    source_language: str
    target_language: str
    """`en` or `zh`."""
    limits: TranslationLimits
    policy: TranslationPolicies
    run: RunConfig
    translator: EndpointConfig
    prices: PricesConfig

    def __post_init__(self) -> None:
        require_one_of("what", self.what, ("tasks", "answers"))
        require(bool(self.files), "files is empty: name at least one file of records")
        require(self.limit is None or self.limit > 0, f"limit={self.limit} must be positive")
        require_one_of("source_language", self.source_language, tuple(LANGUAGES))
        require_one_of("target_language", self.target_language, tuple(LANGUAGES))
        require(
            self.source_language != self.target_language,
            f"source_language and target_language are both {self.source_language}",
        )


@dataclass(frozen=True)
class TranslationItem:
    """One task in its new language."""

    source: Source
    config: TranslateConfig

    def request(self, replies: Sequence[Reply]) -> Request | None:
        """The request for a translation; then, where a policy says so, once more."""
        if not replies:
            return self._first
        if len(replies) > 1:
            return None
        findings = self.findings(replies)
        retried = [finding for finding in findings if self.config.policy.of(finding) == "retry"]
        if not retried:
            return None
        return (asked_longer if "truncated" in findings else asked_again)(self._first)

    def findings(self, replies: Sequence[Reply]) -> list[str]:
        """What is wrong with the translation that `replies` come to."""
        reply, config = self._best(replies), self.config
        found = reply_findings(reply)
        translation = self._read(reply)
        if translation is None:
            return [*found, "unreadable"]
        return found + translation_findings(
            self._text, translation, config.source_language, config.target_language, config.limits
        )

    def made(self, replies: Sequence[Reply]) -> Made:
        """The record without an answer that `replies` come to, or why there is none."""
        findings = self.findings(replies)
        policy = self.config.policy
        dropped = [f for f in findings if f == "unreadable" or policy.of(f) == "drop"]
        translation = self._read(self._best(replies))
        if dropped or translation is None:
            return Made(failure=dropped[0], findings=findings)
        return Made(record=self._record(translation), findings=findings)

    def _best(self, replies: Sequence[Reply]) -> Reply:
        """The last that can be read: a second one without tags is no reason to lose the first."""
        readable = [reply for reply in replies if self._read(reply) is not None]
        return (readable or replies)[-1]

    def _read(self, reply: Reply) -> Text | None:
        return read_translation(reply.text, self._text)

    def _record(self, translation: Text) -> dict[str, Any]:
        record = {
            "id": self.source.id,
            "instruction": translation.instruction,
            "input": translation.input,
            "output": "",
        }
        # The judge of Vicuna's questions has other prompts for some of its categories.
        category = self.source.value.get("category")
        return record | ({"category": category} if isinstance(category, str) else {})

    @property
    def _prompt(self) -> str:
        config = self.config
        return translation_prompt(self._text, config.source_language, config.target_language)

    @cached_property
    def _text(self) -> Text:
        return Text(self.source.instruction, self.source.input)

    @cached_property
    def _first(self) -> Request:
        messages = [{"role": "user", "content": self._prompt}]
        return chat_request(self.config.translator, messages, sample=self.source.repeat)


@dataclass(frozen=True)
class AnswerTranslationItem(TranslationItem):
    """A model's answer in a new language; its text stands in the source's `output`."""

    def request(self, replies: Sequence[Reply]) -> Request | None:
        """An empty answer stays one, and nothing is asked."""
        return super().request(replies) if self.source.output.strip() else None

    def made(self, replies: Sequence[Reply]) -> Made:
        return super().made(replies) if replies else Made(record=self._record(Text("", "")))

    def _read(self, reply: Reply) -> Text | None:
        return read_translated_answer(reply.text)

    def _record(self, translation: Text) -> dict[str, Any]:
        value = self.source.value
        return {
            "question_id": self.source.id,
            "answer": translation.instruction,
            "sample": value.get("sample", 0),
            "model": value.get("model") or value.get("model_id"),
        }

    @property
    def _prompt(self) -> str:
        config = self.config
        return answer_translation_prompt(
            self.source.output, config.source_language, config.target_language
        )

    @cached_property
    def _text(self) -> Text:
        return Text(self.source.output, "")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help(PROGRAM, TranslateConfig, arguments):
        return 0
    return run_program("data translate", lambda report: run(arguments))


def items(config: TranslateConfig) -> Sequence[TranslationItem]:
    if config.what == "tasks":
        return [TranslationItem(task, config) for task in read_sources(config.files, config.limit)]
    return [AnswerTranslationItem(answer, config) for answer in answer_sources(config.files)][
        : config.limit
    ]


def answer_sources(files: Sequence[str]) -> list[Source]:
    """The answers of `files`, as what a data set is made from."""
    given: Counter[str] = Counter()
    sources = []
    for answer in (answer for file in files for answer in read_model_answers(file)):
        sources.append(
            Source(
                id=answer.question_id,
                instruction=answer.question or "",
                input="",
                output=answer.text,
                repeat=given[answer.text],
                file=answer.file,
                index=answer.index,
                value=answer.value,
            )
        )
        given[answer.text] += 1
    return sources


ESTIMABLE = Estimable(
    program=PROGRAM,
    schema=TranslateConfig,
    items=items,
    endpoint=lambda config: config.translator,
    replies=lambda config: (
        f"translation_{config.target_language}"
        if config.what == "tasks"
        else f"answer_{config.target_language}"
    ),
)


def run(arguments: Sequence[str]) -> None:
    """Have tasks translated, to records that wait for an answer; or answers, for the judge."""
    config = compose(TranslateConfig, PROGRAM, arguments)
    languages = config.source_language, config.target_language
    if config.what == "tasks":
        frame = translation_prompt(Text("{instruction}", "{input}"), *languages)
    else:
        frame = answer_translation_prompt("{answer}", *languages)
    about = About(
        task="translate", language=config.target_language, category="translation", frame=frame
    )
    run_task(about, items(config), config.run, config.translator, config.prices)
