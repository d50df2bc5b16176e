"""Conversations in a record: `messages` of `role` and `content`, or ShareGPT's `conversations` of
`from` and `value`.

Every answer in them is learned, so each has to follow what it answers.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llama_gpt4.errors import InputError
from llama_gpt4.fields import json_type, text_of, without_placeholder

KEYS = ("messages", "conversations")
ROLES = {"human": "user", "gpt": "assistant"}
"""Of ShareGPT, by ours."""

Turn = Mapping[str, str]
"""A message as the chat template takes it: `role`, `content`, and maybe `input`."""


class Exchange(NamedTuple):
    """A turn of the user and the answer to it."""

    instruction: str
    input: str
    """Empty where there is none."""
    output: str


def exchanges_of(value: Mapping[str, Any], name: str) -> list[Exchange]:
    """The conversation of the record `value`, which has one of `KEYS`; `InputError` where not all
    of it can be learned."""
    key = next(key for key in KEYS if key in value)
    messages = value[key]
    if not isinstance(messages, list):
        raise InputError(f"{name}: `{key}` is a JSON {json_type(messages)}, not a list of turns")
    turns = [turn_of(message, key, name) for message in messages]
    system = text_of(value.get("system") or "", "system", name)
    has_system_turn = bool(turns) and turns[0]["role"] == "system"
    if has_system_turn:
        system += turns.pop(0)["content"]
    require_no_system(system, name)
    for i, turn in enumerate(turns):
        number = i + 1 + has_system_turn
        _require_learnable(turn, messages[number - 1], i, f"{name}: turn {number} of `{key}`")
    if not turns:
        raise InputError(f"{name}: `{key}` is empty")
    if len(turns) % 2:
        raise InputError(
            f"{name}: `{key}` ends with a turn of the user, which nobody answers: leave it out"
        )
    return list(_paired(turns))


def require_no_system(system: str, name: str) -> None:
    """Refuse a system prompt that says anything."""
    if system.strip():
        raise InputError(
            f"{name} has a system prompt, for which Alpaca's prompt has no place: leave it out, or "
            "put it into the first turn of the user"
        )


def history_of(value: Mapping[str, Any], name: str) -> list[Exchange]:
    """What came before the instruction of the record `value`, which may have a `history`: pairs of
    an instruction and its answer."""
    history = value.get("history") or []
    if not isinstance(history, list):
        raise InputError(f"{name}: `history` is a JSON {json_type(history)}, not a list of pairs")
    exchanges = []
    for number, pair in enumerate(history, start=1):
        place = f"{name}: pair {number} of `history`"
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(f"{place} is not [instruction, answer]")
        asked, answer = (text_of(text, part, place) for part, text in zip("01", pair, strict=True))
        if not asked.strip():
            raise InputError(f"{place} has an empty instruction")
        exchanges.append(Exchange(asked, "", answer))
    return exchanges


def turn_of(message: Any, key: str, name: str) -> Turn:
    """A message in ShareGPT's words or in ours."""
    if not isinstance(message, dict):
        raise InputError(f"{name}: a message of `{key}` is a JSON {json_type(message)}, no object")
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    role = text_of(role, f"{key}: role", name)
    turn = {"role": ROLES.get(role, role), "content": text_of(content, f"{key}: content", name)}
    input = message.get("input")
    return turn | {"input": text_of(input, f"{key}: input", name)} if input else turn


def _require_learnable(turn: Turn, message: Mapping[str, Any], i: int, place: str) -> None:
    """Refuse turn `i` of the two speakers, which `message` says, if it is not in its place."""
    expected = ("user", "assistant")[i % 2]
    if turn["role"] != expected:
        raise InputError(
            f"{place} is by {turn['role']}, not by {expected}: the turns are user, assistant, user "
            "and so on"
        )
    if expected == "user" and not turn["content"].strip():
        raise InputError(f"{place} is empty")
    if message.get("weight") not in (None, 1):
        raise InputError(
            f"{place} has `weight` {message['weight']}, and all answers are learned alike: leave "
            "the key out"
        )


def _paired(turns: list[Turn]) -> Iterator[Exchange]:
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        input = without_placeholder(question.get("input", ""))
        yield Exchange(question["content"], input, answer["content"])
