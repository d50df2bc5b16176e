"""The faults of the teacher's server: which there are, and which one a request meets.

A user message names its own with a marker: `[[fault:500]]` always, `[[fault:500*2]]` at its first
two attempts. Others come by chance, which is a function of the seed, the body and the attempt.
"""

import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any


@dataclass(frozen=True)
class Refusal:
    """An answer that is not 200, as OpenAI words it."""

    status: int
    type: str
    code: str | None
    message: str

    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        return {"error": error}


RATE_LIMITED = Refusal(
    429, "requests", "rate_limit_exceeded", "Rate limit reached for requests. Try again soon."
)
REFUSALS = {
    "429": RATE_LIMITED,
    "429-bare": RATE_LIMITED,
    "quota": Refusal(
        429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."
    ),
    "500": Refusal(500, "server_error", None, "The server had an error."),
    "503": Refusal(503, "server_error", None, "The engine is currently overloaded."),
    "400": Refusal(400, "invalid_request_error", None, "Invalid value for 'temperature'."),
    "400-context": Refusal(
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens.",
    ),
    "400-filter": Refusal(
        400, "invalid_request_error", "content_filter", "The prompt triggered a content policy."
    ),
    "401": Refusal(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "403": Refusal(403, "forbidden", "unsupported_country", "Country not supported."),
    "404": Refusal(404, "invalid_request_error", "model_not_found", "The model does not exist."),
}
CONNECTION = ("drop", "half", "hang")
"""Closed before the answer, closed within it, never answered."""
SPOILED = ("malformed", "no-choices")
"""Status 200 and nothing that could be used."""
CONTENT = ("empty", "length", "content_filter", "refusal", "foreign")
"""A whole response, which costs money, with an answer of little worth."""
KINDS = (*REFUSALS, *CONNECTION, *SPOILED, *CONTENT)

AT_ONCE = frozenset(REFUSALS) - {"500", "503"}
"""What a gateway says before a model is asked: these do not wait for the latency."""

_MARKER = re.compile(r"\[\[(fault|wait):([\w.-]+)(?:\*(\d+))?\]\]")


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """How the teacher behaves; `POST /reset` changes it between two tests."""

    latency_seconds: float = 0.0
    faults: dict[str, float] = field(default_factory=dict)
    """Kind → probability of each attempt to meet it."""
    seed: int = 0
    fail_first: int = 0
    """So many attempts of each body fail with `fail_with`, whatever `faults` says."""
    fail_with: str = "500"
    retry_after_seconds: float = 0.05
    """What the fault 429 asks for."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    burst_seconds: float = 60.0
    """A client that was quiet may use the quota of so long a time at once."""
    models: list[str] | None = None
    """The models that exist; all when null."""
    api_key: str | None = None
    """The one key that is accepted; any when null."""
    judge_first_place: float = 0.0
    """Points that a judge gives the first of two answers for its place."""
    judge_length: float = 0.0
    """Points that it gives for each 100 characters."""
    judge_noise: float = 0.0
    """Points by which it may be off either way, another time it is asked the same."""

    def __post_init__(self) -> None:
        unknown = {*self.faults, self.fail_with} - set(KINDS)
        assert not unknown, f"{unknown} are not faults; there are {KINDS}"


def marked(text: str, attempt: int) -> tuple[str | None, float]:
    """The fault that `text` names for this attempt, and the seconds to wait beyond the latency."""
    fault, wait_seconds = None, 0.0
    for what, value, times in _MARKER.findall(text):
        if times and attempt > int(times):
            continue
        if what == "wait":
            wait_seconds = float(value)
        elif value in KINDS:
            fault = value
    return fault, wait_seconds


def by_chance(settings: TeacherSettings, key: str, attempt: int) -> str | None:
    """The fault that settings hold for this attempt of the body `key`, if any."""
    if attempt <= settings.fail_first:
        return settings.fail_with
    if not settings.faults:
        return None
    draw = blake2b(f"{settings.seed} {key} {attempt}".encode(), digest_size=8).digest()
    left = int.from_bytes(draw, "big") / 2**64
    for kind, probability in settings.faults.items():
        left -= probability
        if left < 0:
            return kind
    return None
