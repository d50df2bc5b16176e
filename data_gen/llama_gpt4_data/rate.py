"""`llama-gpt4 data rate`: a judge gives each answer of several models 1 to 10 points, one answer a
request, as GPT-4 did for the paper's comparison data."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from llama_gpt4.compose import compose
from llama_gpt4.errors import require, require_one_of
from llama_gpt4.files import write_jsonl
from llama_gpt4.help import wants_help
from llama_gpt4.program import hold, run_program
from llama_gpt4_data.card import About
from llama_gpt4_data.endpoint_config import EndpointConfig, chat_request
from llama_gpt4_data.estimable import Estimable
from llama_gpt4_data.findings import ScorePolicies, asked_again, reply_findings
from llama_gpt4_data.frames import framed
from llama_gpt4_data.generate import generate
from llama_gpt4_data.generation_config import PricesConfig, RunConfig
from llama_gpt4_data.joined import Answered, read_answered
from llama_gpt4_data.rated import RatedAnswer, RatedPrompt, count_rated, judgements
from llama_gpt4_data.ratings import REQUESTS, rating_prompt, read_rating
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.sources import Source
from llama_gpt4_data.task import (
    Ended,
    Made,
    ended_items,
    raise_trouble,
    require_apart,
    summary,
    write,
)

PROGRAM = "data_gen/rate"


@dataclass(kw_only=True)
class RateConfig:
    """Whose answers a judge rates."""

    answers: dict[str, str]
    """A file of answers a model, such as {gpt4: a.json, text-davinci-003: b.json}: JSON or JSONL
    of Alpaca records, joined by id, or by instruction and input where not all records have one."""
    missing: str
    """An instruction that not every file answers: `keep` the answers that are there, `drop` it, or
    refuse the files with an `error`."""
    limit: int | None
    """Only the first so many instructions, such as for a pilot; null: all."""
    language: str
    """Of the request to the judge: `en` is the paper's; `zh` says the same."""
    repeats: int
    """Ratings of each answer; its score is their median."""
    policy: ScorePolicies
    run: RunConfig
    judge: EndpointConfig
    prices: PricesConfig

    def __post_init__(self) -> None:
        require(bool(self.answers), "answers is empty: name a file for at least one model")
        require_one_of("missing", self.missing, ("keep", "drop", "error"))
        require(self.limit is None or self.limit > 0, f"limit={self.limit} must be positive")
        require_one_of("language", self.language, tuple(REQUESTS))
        require(self.repeats > 0, f"repeats={self.repeats} must be positive")


@dataclass(frozen=True)
class RatingItem:
    """One rating of an answer. Models that gave the same answer share it, and it is paid once."""

    source: Source
    """The first record that has the answer."""
    number: int
    """Of the rating, where there are several of an answer."""
    config: RateConfig

    @property
    def key(self) -> str:
        return self._first.key

    def request(self, replies: Sequence[Reply]) -> Request | None:
        """The request for a rating; then, where a policy says so, the same once more."""
        if not replies:
            return self._first
        if len(replies) > 1:
            return None
        policies = {self.config.policy.of(finding) for finding in self.findings(replies)}
        return asked_again(self._first) if "retry" in policies else None

    def findings(self, replies: Sequence[Reply]) -> list[str]:
        """What is wrong with the last rating."""
        found = reply_findings(replies[-1])
        rating = read_rating(replies[-1].text)
        if rating.score is None:
            found.append("unreadable")
        elif rating.is_out_of_range:
            found.append("out_of_range")
        return found

    def made(self, replies: Sequence[Reply]) -> Made:
        """The score and its reason, or why there is no score."""
        findings = self.findings(replies)
        policy = self.config.policy
        dropped = [f for f in findings if f == "unreadable" or policy.of(f) == "drop"]
        if dropped:
            return Made(failure=dropped[0], findings=findings)
        rating = read_rating(replies[-1].text)
        return Made(record={"score": rating.score, "reason": rating.reason}, findings=findings)

    @cached_property
    def _first(self) -> Request:
        question = framed("plain", self.source.instruction, self.source.input)
        prompt = rating_prompt(question, self.source.output, self.config.language)
        messages = [{"role": "user", "content": prompt}]
        return chat_request(self.config.judge, messages, sample=self.number)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help(PROGRAM, RateConfig, arguments):
        return 0
    return run_program("data rate", lambda report: run(arguments))


def items(config: RateConfig) -> list[RatingItem]:
    return rating_items(read_answered(config.answers, config.missing, config.limit)[0], config)


ESTIMABLE = Estimable(
    program=PROGRAM,
    schema=RateConfig,
    items=items,
    endpoint=lambda config: config.judge,
    replies=lambda config: f"rating_{config.language}",
    per_limit=lambda config: len(config.answers) * config.repeats,
)


def rating_items(prompts: Sequence[Answered], config: RateConfig) -> list[RatingItem]:
    """What is to be rated: all answers that are not empty, and what is the same once."""
    found: dict[str, RatingItem] = {}
    for prompt in prompts:
        for source in prompt.answers.values():
            for item in ratings_of(source, config):
                found.setdefault(item.key, item)
    return list(found.values())


def ratings_of(source: Source, config: RateConfig) -> list[RatingItem]:
    """An empty answer is worth nothing to ask about."""
    numbers = range(config.repeats) if source.output.strip() else ()
    return [RatingItem(source, number, config) for number in numbers]


def rated_prompt(answered: Answered, ended: Mapping[str, Ended], config: RateConfig) -> RatedPrompt:
    """`answered` with its ratings out of `ended`, which has them by key."""
    answers = [
        RatedAnswer(model, source, [ended[item.key] for item in ratings_of(source, config)])
        for model, source in answered.answers.items()
    ]
    return RatedPrompt(answered, answers)


def run(arguments: Sequence[str]) -> None:
    """Have the answers rated, and write the comparison data."""
    config = compose(RateConfig, PROGRAM, arguments)
    joined, n_left_out = read_answered(config.answers, config.missing, config.limit)
    wanted = rating_items(joined, config)
    output_dir = Path(config.run.output_dir)
    require_apart(config.answers.values(), output_dir)
    lock = hold(output_dir, key="run.output_dir")
    generated, journal = generate(wanted, config.run, config.judge, config.prices)
    outcomes = ended_items(wanted, generated, journal)
    ended = {item.key: outcome for item, outcome in zip(wanted, outcomes, strict=True)}
    prompts = [rated_prompt(answered, ended, config) for answered in joined]
    counted = count_rated(prompts, list(ended.values()), config.judge)
    counted.details["left_out"] = n_left_out
    about = About(
        task="rate",
        language=config.language,
        category="text-classification",
        frame=rating_prompt("{prompt}", "{answer}", config.language),
    )
    write(about, config.run, counted, generated, config.judge)
    write_jsonl(output_dir / "judgements.jsonl", judgements(prompts))
    os.close(lock)
    print(summary(counted, generated, output_dir), flush=True)
    raise_trouble(generated, counted, config.run)
