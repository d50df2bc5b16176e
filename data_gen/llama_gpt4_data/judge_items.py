"""What is asked of the judge: every pair of models, on every question, in both orders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from llama_gpt4_data.endpoint_config import chat_request
from llama_gpt4_data.findings import asked_again, asked_longer, reply_findings
from llama_gpt4_data.judge_answers import JudgedQuestion
from llama_gpt4_data.judge_config import JudgeConfig
from llama_gpt4_data.judge_prompts import judging_messages, prompt_for
from llama_gpt4_data.judge_records import Judgement
from llama_gpt4_data.judge_scores import Scores, is_out_of_range, read_scores
from llama_gpt4_data.requests import Reply, Request


def pairs_of(models: Sequence[str], opponent: str | None) -> list[tuple[str, str]]:
    """Each model against the opponent; without one, all against all."""
    if opponent is None:
        return list(combinations(models, 2))
    return [(model, opponent) for model in models if model != opponent]


@dataclass(frozen=True)
class JudgingItem:
    """One judgement: a question, two answers in an order, the number of the repeat."""

    question: JudgedQuestion
    models: tuple[str, str]
    order: tuple[str, str]
    """The models as the judge sees their answers; it sees no names."""
    repeat: int
    config: JudgeConfig

    @property
    def key(self) -> str:
        """Equal where two models gave the same answer, which is then paid once. Repeats differ:
        the number of the repeat is part of the request."""
        return self._first.key

    def request(self, replies: Sequence[Reply]) -> Request | None:
        """The request for a judgement; then, where a policy says so, once more."""
        if not replies:
            return self._first
        findings = self.findings(replies)
        if len(replies) > 1 or not any(self.config.policy.of(f) == "retry" for f in findings):
            return None
        # Scores that come last were lost with what was cut.
        return (asked_longer if "truncated" in findings else asked_again)(self._first)

    def findings(self, replies: Sequence[Reply]) -> list[str]:
        """What is wrong with the last reply."""
        found, scores = reply_findings(replies[-1]), self._read(replies)
        if scores is None:
            found.append("unreadable")
        elif is_out_of_range(scores):
            found.append("out_of_range")
        return found

    def judgement(self, replies: Sequence[Reply], failure: str | None) -> Judgement:
        """What `replies` come to; `failure` is why there are none."""
        findings = self.findings(replies) if replies else []
        scores = self._read(replies) if replies else None
        if scores is not None and "out_of_range" in findings:
            scores = None if self.config.policy.out_of_range == "drop" else scores
        if scores is None and failure is None:
            failure = next(f for f in reversed(findings) if f != "truncated")
        first, second = self.order
        answers = self.question.answers
        return Judgement(
            question_id=self.question.id,
            category=self.question.category,
            models=self.models,
            order=self.order,
            repeat=self.repeat,
            scores=scores,
            lengths=(len(answers[first]), len(answers[second])),
            source={
                "text": replies[-1].text if replies else None,
                "judge": replies[-1].model if replies else None,
                "prompt": self._prompt,
                "prompt_hash": self._first.prompt_hash,
                "findings": findings,
                "failure": failure,
                "time": replies[-1].time if replies else None,
            },
        )

    def _read(self, replies: Sequence[Reply]) -> Scores | None:
        return read_scores(replies[-1].text, self._prompt)

    @property
    def _prompt(self) -> str:
        return prompt_for(self.question.category)

    @cached_property
    def _first(self) -> Request:
        answers = [self.question.answers[model] for model in self.order]
        messages = judging_messages(self._prompt, self.question.text, answers[0], answers[1])
        return chat_request(self.config.judge, messages, sample=self.repeat)


def judging_items(
    questions: Sequence[JudgedQuestion], config: JudgeConfig
) -> Iterator[JudgingItem]:
    """All judgements that there are to be."""
    for models in pairs_of(list(config.answers), config.opponent):
        for question in questions:
            for order in (models, (models[1], models[0])):
                for repeat in range(config.repeats):
                    yield JudgingItem(question, models, order, repeat, config)


def once(items: Sequence[JudgingItem]) -> list[JudgingItem]:
    """What is to be asked: equal requests are one."""
    found: dict[str, JudgingItem] = {}
    for item in items:
        found.setdefault(item.key, item)
    return list(found.values())
