"""What ratings come to: comparison data as the paper published it, and what became of each."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from llama_gpt4.prompt import render_prompt
from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.joined import Answered
from llama_gpt4_data.sources import Source
from llama_gpt4_data.task import Counted, Ended, Made, call

STATES = ("rated", "failed", "empty", "open")


@dataclass(frozen=True)
class RatedAnswer:
    """One model's answer, and the ratings that it was to get."""

    model: str
    source: Source
    ratings: list[Ended]

    @property
    def scores(self) -> list[float]:
        """Of the ratings that have one."""
        return [e.made.record["score"] for e in self.ratings if e.made and e.made.record]

    @property
    def score(self) -> float:
        return median(self.scores)

    @property
    def state(self) -> str:
        """`rated`, `failed`, `empty`: there is nothing to rate; `open`: not asked to the end."""
        if not self.source.output.strip():
            return "empty"
        if any(ended.made is None for ended in self.ratings):
            return "open"
        return "rated" if self.scores else "failed"

    @property
    def failure(self) -> str:
        """Why it has no score."""
        made = [ended.made for ended in self.ratings if ended.made]
        return (made[0].failure or "failed") if made else "empty answer"


@dataclass(frozen=True)
class RatedPrompt:
    """A prompt and its answers."""

    prompt: Answered
    answers: list[RatedAnswer]

    def in_state(self, state: str) -> list[RatedAnswer]:
        return [answer for answer in self.answers if answer.state == state]


def count_rated(
    prompts: Sequence[RatedPrompt], ratings: Sequence[Ended], judge: EndpointConfig
) -> Counted:
    """Make the record of each prompt. `ratings` has each once, though answers may share it."""
    counted = Counted()
    for prompt in prompts:
        rated, failed = prompt.in_state("rated"), prompt.in_state("failed")
        if prompt.in_state("open"):
            counted.n_open += 1
        elif rated:
            counted.records.append(_record(prompt.prompt, rated, judge))
        else:
            reason = failed[0].failure if failed else "empty answer"
            counted.reasons[reason] += 1
            counted.failed.append({**prompt.answers[0].source.value, "failure": reason})
    counted.findings.update(f for e in ratings if e.made for f in e.made.findings)
    answers = [answer for prompt in prompts for answer in prompt.answers]
    counted.details["ratings"] = _states(ratings)
    counted.details["answers"] = {
        model: _statistics([answer for answer in answers if answer.model == model])
        for model in dict.fromkeys(answer.model for answer in answers)
    }
    counted.notes = _notes(counted.details)
    return counted


def judgements(prompts: Sequence[RatedPrompt]) -> Iterator[dict[str, Any]]:
    """Each rating with all that the judge said; also those that have no score."""
    for prompt in prompts:
        for answer in prompt.answers:
            for number, ended in enumerate(answer.ratings):
                if ended.made is not None:
                    yield _judgement(prompt.prompt.id, answer.model, number, ended, ended.made)


def _judgement(id: str, model: str, number: int, ended: Ended, made: Made) -> dict[str, Any]:
    last = ended.replies[-1] if ended.replies else None
    asked = ended.item.request([])
    assert asked is not None
    return {
        "question_id": id,
        "models": [model],
        "order": [model],
        "scores": [made.record["score"] if made.record else None],
        "text": last.text if last else None,
        "judge": last.model if last else None,
        "prompt_hash": asked.prompt_hash,
        "sample": number,
        "findings": made.findings,
        "failure": made.failure,
        "time": last.time if last else None,
    }


def _record(
    prompt: Answered, rated: Sequence[RatedAnswer], judge: EndpointConfig
) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "user_input": render_prompt(prompt.instruction, prompt.input),
        "responses_and_scores": [
            {"response": a.source.output, "source": a.model, "score": a.score} for a in rated
        ],
        "provenance": {
            "task": "rate",
            "derived_from": {answer.model: answer.source.origin for answer in rated},
            "ratings": {a.model: [_rating(e, judge) for e in a.ratings] for a in rated},
            "licence": judge.licence,
        },
    }


def _rating(ended: Ended, judge: EndpointConfig) -> dict[str, Any]:
    """One rating with where it comes from."""
    assert ended.made is not None
    if not ended.replies:
        return {"score": None, "failure": ended.made.failure}
    told = ended.made.record or {"score": None, "failure": ended.made.failure}
    return told | {"findings": ended.made.findings} | call(ended.item, ended.replies, judge)


def _states(ratings: Sequence[Ended]) -> dict[str, Any]:
    """They add up to what was to be asked."""
    failures = Counter(e.made.failure for e in ratings if e.made and e.made.failure)
    n_open = sum(ended.made is None for ended in ratings)
    return {
        "asked_for": len(ratings),
        "scored": len(ratings) - n_open - failures.total(),
        "failed": failures.total(),
        "open": n_open,
        "failures": dict(failures.most_common()),
    }


def _statistics(answers: Sequence[RatedAnswer]) -> dict[str, Any]:
    states = Counter(answer.state for answer in answers)
    scores = [answer.score for answer in answers if answer.state == "rated"]
    return {
        "answers": len(answers),
        **{state: states[state] for state in STATES},
        "mean": fmean(scores) if scores else None,
        "median": median(scores) if scores else None,
    }


def _notes(details: dict[str, Any]) -> list[str]:
    ratings = details["ratings"]
    lines = [
        f"{ratings['asked_for']} ratings: {ratings['scored']} scored, {ratings['failed']} failed, "
        f"{ratings['open']} not asked yet (judgements.jsonl)"
    ]
    if ratings["failures"]:
        each = ", ".join(f"{n} {reason}" for reason, n in ratings["failures"].items())
        lines.append(f"ratings failed: {each}")
    for model, its in details["answers"].items():
        scored = f", mean {its['mean']:.2f}, median {its['median']:g}" if its["rated"] else ""
        states = [s for s in STATES if its[s] or s == "rated"]
        lines.append(f"{model}: {', '.join(f'{its[s]} {s}' for s in states)}{scored}")
    return lines
