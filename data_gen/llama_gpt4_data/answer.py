"""`llama-gpt4 data answer`: a teacher answers instructions, as GPT-4 did for the paper's three sets
of answers; one user message each, in Alpaca's frame."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from llama_gpt4.compose import compose
from llama_gpt4.errors import require, require_one_of
from llama_gpt4.help import wants_help
from llama_gpt4.program import run_program
from llama_gpt4_data.card import About
from llama_gpt4_data.endpoint_config import EndpointConfig, chat_request
from llama_gpt4_data.estimable import Estimable
from llama_gpt4_data.findings import (
    AnswerPolicies,
    asked_again,
    asked_longer,
    continued,
    reply_findings,
    text_findings,
)
from llama_gpt4_data.frames import framed, require_frame
from llama_gpt4_data.generation_config import PricesConfig, RunConfig
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.sources import Source, read_sources
from llama_gpt4_data.task import Made, run_task

PROGRAM = "data_gen/answer"


@dataclass(kw_only=True)
class AnswerConfig:
    """Whose answers to which instructions become a data set."""

    files: list[str]
    """JSON or JSONL of Alpaca records, the 252 user-oriented instructions or Unnatural
    Instructions; `sample:en` and `sample:zh` are the shipped records. Answers that stand there are
    not shown to the teacher; they are kept as `label`."""
    limit: int | None
    """Only the first so many records, such as for a pilot; null: all."""
    language: str
    """`en` or `zh`, which the answers are to be in."""
    frame: str
    """`alpaca`, the paper's prompt; `alpaca_zh`, the same in Chinese; `plain`, without words of
    our own."""
    system: str | None
    """A system message; null: none, as in the paper."""
    policy: AnswerPolicies
    run: RunConfig
    teacher: EndpointConfig
    prices: PricesConfig

    def __post_init__(self) -> None:
        require(bool(self.files), "files is empty: name at least one file of records")
        require(self.limit is None or self.limit > 0, f"limit={self.limit} must be positive")
        require_one_of("language", self.language, ("en", "zh"))
        require_frame(self.frame)


@dataclass(frozen=True)
class Answer:
    """One instruction that the teacher answers."""

    source: Source
    config: AnswerConfig

    def request(self, replies: Sequence[Reply]) -> Request | None:
        """The question; then, where a policy says so, once more or for the rest."""
        if not replies:
            return self._first
        policy = self.config.policy
        if len(replies) > 1 or not policy.asks_again:
            return None
        findings = self.findings(replies)
        if "truncated" in findings and policy.truncated == "continue":
            return continued(self._first, replies, self.config.language)
        retried = [finding for finding in findings if policy.of(finding) == "retry"]
        if not retried:
            return None
        return (asked_longer if retried == ["truncated"] else asked_again)(self._first)

    def text(self, replies: Sequence[Reply]) -> str:
        if len(replies) == 2 and self._is_continued(replies):
            return replies[0].text + replies[1].text
        return replies[-1].text

    def findings(self, replies: Sequence[Reply]) -> list[str]:
        """What is wrong with the answer that `replies` come to."""
        source = self.source
        return reply_findings(replies[-1]) + text_findings(
            source.instruction, source.input, self.text(replies), self.config.language
        )

    def made(self, replies: Sequence[Reply]) -> Made:
        """The record that `replies` come to, or why there is none."""
        findings = self.findings(replies)
        policy = self.config.policy
        dropped = [f for f in findings if f == "empty" or policy.of(f) == "drop"]
        if dropped:
            return Made(failure=dropped[0], findings=findings)
        record = {
            "id": self.source.id,
            "instruction": self.source.instruction,
            "input": self.source.input,
            "output": self.text(replies),
        }
        if self.source.output:
            record["label"] = self.source.output
        return Made(record=record, findings=findings)

    @cached_property
    def _first(self) -> Request:
        config = self.config
        messages = [] if config.system is None else [{"role": "system", "content": config.system}]
        question = framed(config.frame, self.source.instruction, self.source.input)
        messages.append({"role": "user", "content": question})
        return chat_request(config.teacher, messages, sample=self.source.repeat)

    def _is_continued(self, replies: Sequence[Reply]) -> bool:
        return (
            "truncated" in reply_findings(replies[0]) and self.config.policy.truncated == "continue"
        )


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help(PROGRAM, AnswerConfig, arguments):
        return 0
    return run_program("data answer", lambda report: run(arguments))


def items(config: AnswerConfig) -> list[Answer]:
    return [Answer(source, config) for source in read_sources(config.files, config.limit)]


ESTIMABLE = Estimable(
    program=PROGRAM,
    schema=AnswerConfig,
    items=items,
    endpoint=lambda config: config.teacher,
    replies=lambda config: f"answer_{config.language}",
)


def run(arguments: Sequence[str]) -> None:
    """Have the instructions answered, and write the data set."""
    config = compose(AnswerConfig, PROGRAM, arguments)
    about = About(
        task="answer",
        language=config.language,
        category="text-generation",
        frame=framed(config.frame, "{instruction}", "{input}"),
    )
    run_task(about, items(config), config.run, config.teacher, config.prices)
