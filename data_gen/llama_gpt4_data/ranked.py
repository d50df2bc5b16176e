"""Answers in their groups: Rk has the k-th best answer to each question, B what one ordinary
decoding says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llama_gpt4.questions import Question
from llama_gpt4_data.best_of_n import Floats, order
from llama_gpt4_data.candidates import Candidate, Candidates

BASELINE = "B"


@dataclass(frozen=True, eq=False)
class Group:
    name: str
    answers: Sequence[Candidate]
    """One to each question."""
    rewards: Floats
    """(Q,)."""

    @property
    def model(self) -> str:
        """What its file calls who answers."""
        return f"{' + '.join(dict.fromkeys(a.model for a in self.answers))} {self.name}"


@dataclass(frozen=True, eq=False)
class Ranked:
    questions: Sequence[Question]
    groups: Sequence[Group]
    """R1 to Rn."""
    baseline: Group | None

    @property
    def all_groups(self) -> list[Group]:
        return [*self.groups, *([self.baseline] if self.baseline else [])]

    @property
    def rewards(self) -> Floats:
        """(Q, n) of R1 to Rn."""
        return np.stack([group.rewards for group in self.groups], axis=1)


def ranked(
    candidates: Sequence[Candidates], baseline: Sequence[Candidate] | None, rewards: Floats
) -> Ranked:
    """The groups; `rewards` are (Q, n) of the answers, or (Q, n + 1) with those of `baseline`."""
    n = len(candidates[0].answers)
    places = order(rewards[:, :n])
    return Ranked(
        questions=[each.question for each in candidates],
        groups=[
            Group(
                name=f"R{k + 1}",
                answers=[each.answers[at] for each, at in zip(candidates, column, strict=True)],
                rewards=np.take_along_axis(rewards, column[:, None], axis=1)[:, 0],
            )
            for k, column in enumerate(places.T)
        ],
        baseline=None if baseline is None else Group(BASELINE, baseline, rewards[:, n]),
    )


def answer_lines(ranked: Ranked, group: Group) -> Iterator[dict[str, Any]]:
    """The group as the answers of one model, one to each question, in the keys of `answer`; then
    its reward and which answer it was."""
    for question, answer, reward in zip(
        ranked.questions, group.answers, group.rewards.tolist(), strict=True
    ):
        yield {
            "question_id": question.question_id,
            "question": question.text,
            **({"input": question.input} if question.input else {}),
            "answer": answer.text,
            "sample": 0,
            "model": group.model,
            "decoding": answer.decoding,
            "finish_reason": answer.finish_reason,
            "reward": reward,
            "ranked": {"file": answer.file, "sample": answer.sample, "model": answer.model},
        }


def reward_lines(ranked: Ranked) -> Iterator[dict[str, Any]]:
    """Every reward: question by question, from the best answer to the worst, then B's."""
    for i, question in enumerate(ranked.questions):
        for group in ranked.all_groups:
            answer = group.answers[i]
            yield {
                "question_id": question.question_id,
                "group": group.name,
                "reward": float(group.rewards[i]),
                "file": answer.file,
                "sample": answer.sample,
                "model": answer.model,
            }
