"""What the teacher's server received and sent: the proof that nothing was paid twice."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any


@dataclass
class Journal:
    """Counts since the last reset, by the hash of the request's body."""

    attempts: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    """Whole responses of status 200 with choices: what a provider would charge for."""
    kinds: Counter[str] = field(default_factory=Counter)
    """How requests ended: `ok`, a fault, `limited` by the quota, `abandoned` by the client."""
    keys: Counter[str] = field(default_factory=Counter)
    """Hash of each API key that was sent, and how often; `none` for a request without one."""
    began_at: float = 0.0
    """When the client opened the first connection on which a question came."""
    events: list[tuple[float, str, str, int]] = field(default_factory=list)
    """Time, body, end, and how many requests were in flight at that moment."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    concurrent: int = 0
    max_concurrent: int = 0
    connections: int = 0

    def received(self, connected_at: float, body: bytes, api_key: bytes | None) -> tuple[str, int]:
        """The body's key, and which attempt this is."""
        self.began_at = min(self.began_at or connected_at, connected_at)
        key = sha256(body).hexdigest()[:32]
        self.attempts[key] += 1
        self.keys[key_hash(api_key) if api_key else "none"] += 1
        self.concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self.concurrent)
        return key, self.attempts[key]

    def ended(self, now: float, key: str, kind: str) -> None:
        self.events.append((now, key, kind, self.concurrent))
        self.kinds[kind] += 1
        self.concurrent -= 1

    def answered(self, key: str, prompt_tokens: int, completion_tokens: int) -> None:
        self.answers[key] += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def report(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def key_hash(api_key: bytes) -> str:
    """A key is never kept, only this."""
    return sha256(api_key).hexdigest()[:16]
