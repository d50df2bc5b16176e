"""A quota of requests and tokens a minute that is kept, and the headers that tell of it."""

import math
from dataclasses import dataclass


@dataclass
class Bucket:
    """Fills at a steady rate and holds what `burst_seconds` bring."""

    per_minute: int
    burst_seconds: float
    level: float = math.inf
    filled_at: float = 0.0

    def fill(self, now: float) -> None:
        capacity = self.per_minute * self.burst_seconds / 60
        gained = (now - self.filled_at) * self.per_minute / 60
        self.level, self.filled_at = min(capacity, self.level + gained), now

    def seconds_until(self, amount: float) -> float:
        """How long the bucket takes until it holds `amount`, or is full."""
        missing = min(amount, self.per_minute * self.burst_seconds / 60) - self.level
        return max(0.0, missing * 60 / self.per_minute)


class Quota:
    """Requests and tokens, each with its own bucket or without a limit."""

    def __init__(self, requests: int | None, tokens: int | None, burst_seconds: float) -> None:
        self.buckets = {
            name: Bucket(per_minute, burst_seconds)
            for name, per_minute in (("requests", requests), ("tokens", tokens))
            if per_minute is not None
        }

    def take(self, tokens: int, now: float) -> float:
        """0 if the request may pass, which is then counted; else the seconds it has to wait."""
        amounts = {"requests": 1, "tokens": tokens}
        for bucket in self.buckets.values():
            bucket.fill(now)
        wait = max(b.seconds_until(amounts[name]) for name, b in self.buckets.items())
        if not wait:
            for name, bucket in self.buckets.items():
                bucket.level -= amounts[name]
        return wait

    def headers(self) -> str:
        lines = []
        for name, bucket in self.buckets.items():
            reset_ms = math.ceil(1000 * bucket.seconds_until(math.inf))
            lines += [
                f"x-ratelimit-limit-{name}: {bucket.per_minute}\r\n",
                f"x-ratelimit-remaining-{name}: {max(0, int(bucket.level))}\r\n",
                f"x-ratelimit-reset-{name}: {_duration(reset_ms)}\r\n",
            ]
        return "".join(lines)


def retry_after(seconds: float) -> str:
    """Both headers; the one in whole seconds never asks for less."""
    return f"retry-after-ms: {math.ceil(1000 * seconds)}\r\nretry-after: {math.ceil(seconds)}\r\n"


def _duration(ms: int) -> str:
    """As OpenAI writes it: 17ms, 6.5s, 1m0s."""
    if ms < 1000:
        return f"{ms}ms"
    return f"{ms / 1000:g}s" if ms < 60_000 else f"{ms // 60_000}m{ms % 60_000 / 1000:g}s"
