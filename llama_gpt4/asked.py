"""What a model is asked while it trains: questions of a file, or the prompts of held-out records.

They are read with the data, before any process group exists, so that what cannot be asked is found
there.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llama_gpt4.architecture import architecture_of
from llama_gpt4.config import EvaluationConfig, TrainConfig
from llama_gpt4.errors import require
from llama_gpt4.prompt import render_prompt
from llama_gpt4.questions import read_questions

if TYPE_CHECKING:
    from llama_gpt4.examples import Examples, Prepared
    from llama_gpt4.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """One of the things that a model is asked."""

    record: str
    """The question's id, or the name of the held-out record."""
    text: str
    """The question, or the record's whole prompt."""
    ids: list[int]
    reference: str | None
    """The answer that the record has to it."""
    answer_tokens: int
    """Longest answer that the configuration and the model's positions leave room for."""


@dataclass(frozen=True)
class Asked:
    """All that a run asks."""

    prompts: list[Prompt]
    described: str
    """Which they are, in words; empty without any."""


NOTHING = Asked([], "")


def asked_of(config: TrainConfig, prepared: "Prepared") -> Asked:
    """The prompts of a run; `InputError` where one of its questions cannot be asked."""
    evaluation, held_out = config.evaluation, prepared.validation
    if not evaluation.n_questions or (evaluation.questions is None and held_out is None):
        return NOTHING
    from llama_gpt4.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(prepared.tokenizer_folder)
    max_positions = architecture_of(config.model, prepared.vocab_size).max_positions
    if evaluation.questions is not None:
        return _questions(evaluation.questions, evaluation, tokenizer, max_positions)
    assert held_out is not None
    return _held_out(held_out, evaluation, tokenizer, max_positions)


def _questions(
    file: str, evaluation: EvaluationConfig, tokenizer: "Tokenizer", max_positions: int
) -> Asked:
    """The first questions of `file`, with the ids that `llama-gpt4 answer` gives them."""
    questions = read_questions(file, "evaluation.questions")
    first = questions[: evaluation.n_questions]
    ids_of = tokenizer.encode_prompts([render_prompt(q.instruction, q.input) for q in first])
    prompts = []
    for question, ids in zip(first, ids_of, strict=True):
        room = max_positions - len(ids)
        require(
            room > 0,
            f"evaluation.questions={file}: question {question.question_id} has {len(ids)} tokens "
            f"with its prompt, and the model takes {max_positions} with the answer: shorten it",
        )
        longest = min(evaluation.answer_tokens, room)
        prompts.append(Prompt(str(question.question_id), question.text, ids, None, longest))
    share = "" if len(first) == len(questions) else f"the first {len(first)} of "
    return Asked(prompts, f"{share}{len(questions)} questions of {file}")


def _held_out(
    examples: "Examples", evaluation: EvaluationConfig, tokenizer: "Tokenizer", max_positions: int
) -> Asked:
    """The first validation examples; a conversation's first turn."""
    prompts = []
    for i in range(min(evaluation.n_questions, examples.n)):
        _, starts, sizes = examples.targets.answers_of(np.array([i]))
        n, ids = int(starts[0]), examples.tokens_of(i).tolist()
        prompts.append(
            Prompt(
                record=examples.record_name(i),
                text=tokenizer.decode(ids[:n]),
                ids=ids[:n],
                reference=tokenizer.decode(ids[n : n + int(sizes[0])], continuation=True),
                answer_tokens=min(evaluation.answer_tokens, max_positions - n),
            )
        )
    return Asked(prompts, f"the first {len(prompts)} of {examples.n} validation prompts")
