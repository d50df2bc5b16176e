"""`llama-gpt4 answer engine=endpoint`: a model behind an OpenAI-compatible address answers a file
of questions, such as ChatGPT and GPT-4, with which the paper compares; in lines like those of our
own models, for the same judge."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llama_gpt4.answer import quote_values
from llama_gpt4.answer_lines import answer_line
from llama_gpt4.compose import compose
from llama_gpt4.decoding import DecodingConfig
from llama_gpt4.errors import require
from llama_gpt4.files import write_json, write_jsonl
from llama_gpt4.help import wants_help
from llama_gpt4.program import hold, run_program
from llama_gpt4.questions import Question, read_questions
from llama_gpt4_data.endpoint_config import EndpointConfig, chat_request
from llama_gpt4_data.estimable import Estimable
from llama_gpt4_data.findings import reply_findings
from llama_gpt4_data.frames import framed, require_frame
from llama_gpt4_data.generate import Generated, generate
from llama_gpt4_data.generation_config import AskingConfig, PricesConfig
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.task import Counted, outcome, raise_trouble, report, require_apart
from llama_gpt4_data.worker import replies_to

PROGRAM = "answer/endpoint"
OUTPUTS = ("answers.jsonl", "failed.jsonl", "report.json")


@dataclass(kw_only=True)
class EndpointAnswersConfig:
    """Which model behind an address answers which questions, how often, and how it is asked."""

    questions: str
    """JSON or JSONL of Alpaca records, Vicuna questions, the 252 user-oriented instructions or
    Unnatural Instructions; `sample:en` and `sample:zh` are the shipped records."""
    limit: int | None
    """Only the first so many questions, such as for a pilot; null: all."""
    samples: int
    """Answers to each question."""
    frame: str
    """`plain`, the question as it is, with its input below it; `alpaca`, the prompt of the paper's
    models; `alpaca_zh`, the same in Chinese."""
    system: str | None
    """A system message; null: none."""
    decoding: DecodingConfig
    """What `endpoint.parameters` are made of, as far as the endpoint takes them."""
    run: AskingConfig
    endpoint: EndpointConfig
    prices: PricesConfig

    def __post_init__(self) -> None:
        require(
            not self.endpoint.model.startswith("["),
            f"endpoint.model={self.endpoint.model}: one model is asked here; give each a line and "
            "a run.output_dir of its own",
        )
        require(self.limit is None or self.limit > 0, f"limit={self.limit} must be positive")
        require(self.samples > 0, f"samples={self.samples} must be positive")
        require(
            self.samples == 1 or self.endpoint.parameters.get("temperature") != 0,
            f"samples={self.samples} would all be the same at decoding.temperature=0: raise it, or "
            "take decoding=paper",
        )
        require_frame(self.frame)


@dataclass(frozen=True)
class QuestionItem:
    """One answer to one question."""

    question: Question
    sample: int
    config: EndpointAnswersConfig

    def request(self, replies: Sequence[Reply]) -> Request | None:
        """What to ask next: the question, and nothing after a reply."""
        return None if replies else self._request

    def line(self, reply: Reply) -> dict[str, Any]:
        """The answer as a line of the file; an empty one is an answer, too."""
        asked = self._request
        made_by = {
            "model": reply.model,
            "endpoint": asked.endpoint,
            "prompt_hash": asked.prompt_hash,
            "licence": self.config.endpoint.licence,
            "decoding": {k: v for k, v in asked.body.items() if k not in ("model", "messages")},
        }
        return answer_line(self.question, self.sample, reply.text, made_by, reply.finish_reason)

    def failed_line(self, reason: str) -> dict[str, Any]:
        """A line of failed.jsonl; `reason` is why no answer came."""
        question = self.question
        return {
            "question_id": question.question_id,
            "question": question.text,
            "sample": self.sample,
            "failure": reason,
        }

    @cached_property
    def _request(self) -> Request:
        config = self.config
        messages = [] if config.system is None else [{"role": "system", "content": config.system}]
        text = framed(config.frame, self.question.instruction, self.question.input)
        messages.append({"role": "user", "content": text})
        return chat_request(config.endpoint, messages, sample=self.sample)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = as_text(sys.argv[1:] if argv is None else argv)
    if wants_help(PROGRAM, EndpointAnswersConfig, arguments):
        return 0
    return run_program("answer engine=endpoint", lambda report: run(arguments))


def as_text(arguments: Sequence[str]) -> list[str]:
    """`model=…` is short for the endpoint's, and a path is taken to the letter."""
    keys = {"model": "endpoint.model", "questions": "questions"}
    return quote_values(arguments, keys)


def items(config: EndpointAnswersConfig) -> list[QuestionItem]:
    """An item for each question and sample, in the order of the file."""
    return [
        QuestionItem(question, sample, config)
        for question in read_questions(config.questions)[: config.limit]
        for sample in range(config.samples)
    ]


ESTIMABLE = Estimable(
    program=PROGRAM,
    schema=EndpointAnswersConfig,
    items=items,
    endpoint=lambda config: config.endpoint,
    replies=lambda config: "answer_en",
    per_limit=lambda config: config.samples,
    overrides=as_text,
)


def run(arguments: Sequence[str]) -> None:
    """Have the questions answered, and write what came."""
    config = compose(EndpointAnswersConfig, PROGRAM, arguments)
    asked = items(config)
    output_dir = Path(config.run.output_dir)
    require_apart([config.questions], output_dir, OUTPUTS)
    lock = hold(output_dir, key="run.output_dir")
    try:
        generated, journal = generate(
            asked, config.run, config.endpoint, config.prices, task="answers"
        )
        counted = count(asked, generated, journal)
        nothing_came = not (counted.records or counted.failed or generated.lost_usd)
        if nothing_came and (output_dir / "report.json").exists():
            # A wrong model, key or address: the answers that are there stay as they are.
            raise_trouble(generated, counted, config.run)
        write_jsonl(output_dir / "answers.jsonl", counted.records)
        write_jsonl(output_dir / "failed.jsonl", counted.failed)
        written = report("answers", counted, generated, config.endpoint)
        write_json(output_dir / "report.json", written)
    finally:
        os.close(lock)
    print(outcome(counted, generated, "answers"))
    print(f"{output_dir}/answers.jsonl, failed.jsonl", flush=True)
    raise_trouble(generated, counted, config.run)


def count(asked: Sequence[QuestionItem], generated: Generated, journal: Journal) -> Counted:
    """The line of each answer that came, and why the others did not."""
    counted = Counted()
    for place, item in enumerate(asked):
        replies, request = replies_to(item, journal)
        if request is None:
            counted.records.append(item.line(replies[-1]))
            counted.findings.update(reply_findings(replies[-1]))
        elif place in generated.failures:
            counted.reasons[generated.failures[place]] += 1
            counted.failed.append(item.failed_line(generated.failures[place]))
        else:
            counted.n_open += 1
    return counted
