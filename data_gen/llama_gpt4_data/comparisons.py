"""Comparison data: answers to one prompt, and which are better. All published layouts are read:

v2           `user_input`, `responses_and_scores`: [{`response`, `source`, `score`}]
v1           `user_input`, `completion_a` (better), `completion_b` (worse)
preference   `chosen` and `rejected`, each a text, a message, or messages; the prompt before them as
             `prompt` (a text or messages), `conversations`, or `instruction` and `input`
best, worst  `instruction`, `input`, `output`: [best, worst]

in JSON, JSONL or Parquet. RewardBench's files are of the layout `preference`, with a `subset`.

Answers are ordered by their scores; by their places only where there are none.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_gpt4.conversations import Turn, turn_of
from llama_gpt4.errors import InputError
from llama_gpt4.fields import json_type, text_of, without_placeholder
from llama_gpt4.prompt import INPUT, INSTRUCTION, RESPONSE, WITH_INPUT, WITHOUT_INPUT
from llama_gpt4.questions import OWN_IDS
from llama_gpt4.records import json_values, read_bytes, record_name
from llama_gpt4_data.ratings import HIGHEST, LOWEST

PROMPT_KEYS = ("prompt", "user_input", "conversations", "instruction")
SCORE_KEYS = ("score_{}", "{}_score", "{}_rating", "{}-rating")
SOURCE_KEYS = ("{}_source", "source_{}", "{}_model", "{}-model")
"""What files call the score and the origin of an answer that is `chosen` or `rejected`."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """One answer to a prompt."""

    text: str
    source: str | None
    """Whose it is."""
    score: float | None

    @property
    def is_empty(self) -> bool:
        return not self.text.strip()

    @property
    def is_out_of_range(self) -> bool:
        return self.score is not None and not LOWEST <= self.score <= HIGHEST


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Answers to one prompt."""

    turns: list[Turn]
    """What was said before the answers. A rendered Alpaca prompt is taken apart, so that rendering
    the turns wraps no prompt twice."""
    responses: list[Response]
    """All have scores, or none has one and the better come first."""
    id: str | None
    """The file's own."""
    subset: str | None
    """The part of a benchmark, where the record names one."""
    licence: str | None
    """Of the ratings, where the record says so."""
    file: str
    index: int
    """Place in a JSON array, from 0; line of a JSONL file, from 1."""

    @property
    def name(self) -> str:
        return record_name(self.file, self.index)

    @property
    def is_scored(self) -> bool:
        return all(response.score is not None for response in self.responses)


def read_comparisons(files: Sequence[str]) -> list[Comparison]:
    """The comparisons of `files` in their order, in whatever layout each record has."""
    found = []
    for file in files:
        found += [_comparison(value, file, index) for index, value in _values(file)]
    if not found:
        raise InputError(f"files={json.dumps(list(files), ensure_ascii=False)} hold no comparison")
    return found


def _values(file: str) -> list[tuple[int, Any]]:
    """The records of `file` with their places."""
    content = read_bytes(file)
    _refuse_lists(content, file)
    return json_values(content, file)


def turns_of(prompt: str) -> list[Turn]:
    """A prompt as one turn; Alpaca's prompt is taken apart into instruction and input."""
    text = prompt.rstrip()
    for opening in (WITH_INPUT + INSTRUCTION, WITHOUT_INPUT + INSTRUCTION):
        if text.startswith(opening) and text.endswith(RESPONSE):
            asked = text[len(opening) : -len(RESPONSE)]
            if opening.startswith(WITHOUT_INPUT):
                return [{"role": "user", "content": asked}]
            instruction, separator, input = asked.partition(INPUT)
            if separator and input:
                return [{"role": "user", "content": instruction, "input": input}]
    return [{"role": "user", "content": prompt}]


def _refuse_lists(content: bytes, file: str) -> None:
    """Scores by model, a list each, without what they are the scores of."""
    try:
        value = json.loads(content) if content.lstrip()[:1] == b"{" else None
    except (ValueError, RecursionError):
        return  # JSONL, or whatever the reader of records says about it
    if not isinstance(value, dict) or not value or not all(map(_is_numbers, value.values())):
        return
    lengths = ", ".join(f"{key} {len(scores)}" for key, scores in value.items())
    raise InputError(
        f"{file} is lists of scores without prompts and responses ({lengths}): failed ratings are "
        "missing in each, so that one place means different prompts, and nothing can join them; "
        "take data that keeps the scores of a prompt together, such as comparison_data_v2.json"
    )


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, int | float) for entry in value)


def _comparison(value: Any, file: str, index: int) -> Comparison:
    name = record_name(file, index)
    if not isinstance(value, dict):
        raise InputError(f"{name} is a JSON {json_type(value)}, not an object")
    if "responses_and_scores" in value:
        turns, responses = _prompt(value, name), _scored_responses(value, name)
    elif "completion_a" in value:
        turns = _prompt(value, name)
        responses = [_unscored(value.get(f"completion_{x}"), f"completion_{x}", name) for x in "ab"]
    elif "chosen" in value and "rejected" in value:
        turns, responses = _preference(value, name)
    elif isinstance(value.get("output"), list):
        turns, responses = _prompt(value, name), _best_and_worst(value["output"], name)
    else:
        keys = ", ".join(map(str, value)) or "none"
        raise InputError(
            f"{name} is no comparison (its keys: {keys}): it has `responses_and_scores`, "
            "`completion_a` and `completion_b`, `chosen` and `rejected`, or `output` with two texts"
        )
    own = next((value[key] for key in OWN_IDS if key in value), None)
    return Comparison(
        turns=turns,
        responses=responses,
        id=None if own is None else str(own),
        subset=value["subset"] if isinstance(value.get("subset"), str) else None,
        licence=_licence(value.get("provenance")),
        file=file,
        index=index,
    )


def _licence(provenance: Any) -> str | None:
    licence = provenance.get("licence") if isinstance(provenance, dict) else None
    return licence if isinstance(licence, str) else None


def _prompt(value: dict[str, Any], name: str) -> list[Turn]:
    """The turns before the answers."""
    key = next((key for key in PROMPT_KEYS if key in value), None)
    if key is None:
        raise InputError(f"{name} has no prompt: none of the keys {', '.join(PROMPT_KEYS)}")
    prompt = value[key]
    if isinstance(prompt, list):
        turns = [turn_of(message, key, name) for message in prompt]
    else:
        turns = turns_of(text_of(prompt, key, name))
        if key == "instruction" and value.get("input") is not None:
            input = without_placeholder(text_of(value["input"], "input", name))
            turns = [{**turns[0], "input": input}] if input else turns
    if not turns or not turns[-1]["content"].strip():
        raise InputError(f"{name}: `{key}` is empty")
    return turns


def _scored_responses(value: dict[str, Any], name: str) -> list[Response]:
    key = "responses_and_scores"
    entries = value[key]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{name}: `{key}` is not a list of objects")
    found = []
    for entry in entries:
        text = text_of(entry.get("response"), f"{key}: response", name)
        source = entry.get("source")
        source = None if source is None else text_of(source, f"{key}: source", name)
        score = _score(entry.get("score"), f"{key}: score", name)
        found.append(Response(text=text, source=source, score=score))
    return found


def _preference(value: dict[str, Any], name: str) -> tuple[list[Turn], list[Response]]:
    """Prompt, chosen and rejected answer; the prompt may stand at the beginning of both."""
    before: list[list[Turn]] = []
    responses = []
    for which in ("chosen", "rejected"):
        turns, text = _answer(value[which], which, name)
        before.append(turns)
        source = _first(value, SOURCE_KEYS, which)
        score = _first(value, SCORE_KEYS, which)
        responses.append(
            Response(
                text=text,
                source=source if isinstance(source, str) else None,
                score=None if score is None else _score(score, f"score of {which}", name),
            )
        )
    if before[0] != before[1]:
        raise InputError(f"{name}: `chosen` and `rejected` answer different conversations")
    if sum(response.score is None for response in responses) == 1:
        raise InputError(f"{name}: only one of `chosen` and `rejected` has a score")
    return before[0] or _prompt(value, name), responses


def _answer(value: Any, which: str, name: str) -> tuple[list[Turn], str]:
    """What stands before an answer, if anything, and the answer."""
    if isinstance(value, str):
        return [], text_of(value, which, name)
    messages = value if isinstance(value, list) else [value]
    turns = [turn_of(message, which, name) for message in messages]
    if not turns or turns[-1]["role"] != "assistant":
        raise InputError(f"{name}: `{which}` does not end with a message of the assistant")
    return turns[:-1], turns[-1]["content"]


def _best_and_worst(outputs: list[Any], name: str) -> list[Response]:
    if len(outputs) != 2:
        raise InputError(f"{name}: `output` has {len(outputs)} entries, not a better and a worse")
    return [_unscored(output, "output", name) for output in outputs]


def _unscored(value: Any, key: str, name: str) -> Response:
    return Response(text=text_of(value, key, name), source=None, score=None)


def _first(value: dict[str, Any], patterns: Sequence[str], which: str) -> Any:
    return next((value[p.format(which)] for p in patterns if p.format(which) in value), None)


def _score(value: Any, key: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(
            f"{name}: `{key}` is {json.dumps(value, ensure_ascii=False)}, not a number: leave out "
            "an answer that has no score"
        )
    return float(value)
