"""What a teacher is asked and what it answers, apart from how either travels."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

Message = Mapping[str, str]

LENGTH_KEYS = ("max_completion_tokens", "max_tokens")
"""What endpoints call the longest answer; the first that a request has counts."""


def longest_answer(parameters: Mapping[str, Any]) -> int | None:
    """Tokens of the longest answer that is asked for; None: whatever the model can."""
    return next((parameters[key] for key in LENGTH_KEYS if parameters.get(key) is not None), None)


HALF_A_PAIR = re.compile("[\ud800-\udfff]")
"""What is left of an emoji where a server cut its answer between two code units; it is no text, and
no file or request can hold it."""


@dataclass(frozen=True)
class Request:
    """One call of a chat endpoint. Equal requests have equal keys, whoever makes them and when."""

    endpoint: str
    """Whose answer it is: the address, so that an answer of one server is not taken for another's.
    """
    body: Mapping[str, Any]
    """As it is sent: `model`, `messages` and the parameters."""
    sample: int = 0
    """Number of the answer, where the same is asked more than once."""
    again: int = 0
    """1: asked once more because the first answer was of no use."""

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that decides the answer."""
        asked = json.dumps(
            [self.endpoint, self.body, self.sample, self.again],
            ensure_ascii=False,
            sort_keys=True,
        )
        return hashlib.sha256(asked.encode()).hexdigest()

    @property
    def prompt_hash(self) -> str:
        """SHA-256 of the messages alone."""
        asked = json.dumps(self.body["messages"], ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    @property
    def max_tokens(self) -> int | None:
        return longest_answer(self.body)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer that was paid for."""

    key: str
    """Of the request."""
    text: str
    """Empty where the model said nothing, or refused in a field of its own."""
    finish_reason: str
    """`stop`; `length`: cut at the longest answer; `content_filter`."""
    model: str
    """As the endpoint names it, with its version."""
    prompt_tokens: int | None
    completion_tokens: int | None
    """None where the endpoint does not count."""
    time: str
    """When it arrived, UTC, ISO 8601."""
    request_id: str | None
    """The endpoint's own, for questions to its support."""
    is_batch: bool = False
    """It came by the Batch API, at its price."""


def reply_in(answer: Any, *, key: str, model: str, request_id: str | None) -> Reply | None:
    """The reply in `answer`, the body of a response to a request for `model`; None: there is none
    in it."""
    try:
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        text = choice["message"].get("content") or ""
        if not isinstance(text, str):
            return None
        return Reply(
            key=key,
            text=HALF_A_PAIR.sub("\ufffd", text),
            finish_reason=choice.get("finish_reason") or "stop",
            model=answer.get("model") or model,
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            request_id=request_id,
        )
    except (TypeError, KeyError, IndexError, AttributeError):
        return None


def _count(tokens: Any) -> int | None:
    """Servers say all sorts of things, and an answer that is paid must not be lost for it."""
    return tokens if isinstance(tokens, int) and tokens >= 0 else None
