"""How fast an endpoint may be asked: its limits a minute, and pauses that it asks for.

Limits are buckets that fill continuously, full at first, as providers keep theirs. They come from
the configuration or, where that says nothing, from the headers of every response.
"""

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

TOLERATED_FRAC = 0.125
"""Of requests that are refused without a word on when to come again, before all have to wait."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 60.0
"""Pauses of an endpoint that says "too many" and not for how long: doubled while it says so."""


@dataclass(frozen=True)
class Stated:
    """What the headers of one response say; None where they say nothing."""

    requests_per_minute: int | None = None
    requests_left: int | None = None
    tokens_per_minute: int | None = None
    tokens_left: int | None = None
    retry_after_seconds: float | None = None


def stated(headers: Mapping[str, str]) -> Stated:
    """The limits in a response's `headers` (lower-case names), in OpenAI's notation."""
    return Stated(
        requests_per_minute=_count(headers.get("x-ratelimit-limit-requests")),
        requests_left=_count(headers.get("x-ratelimit-remaining-requests")),
        tokens_per_minute=_count(headers.get("x-ratelimit-limit-tokens")),
        tokens_left=_count(headers.get("x-ratelimit-remaining-tokens")),
        retry_after_seconds=_retry_after(headers),
    )


class Bucket:
    """What a limit of `per_minute` still allows."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._level, self._at = per_minute, time.monotonic()

    def wait_seconds(self, amount: int) -> float:
        """Until `amount` is there; more than a minute's worth is let through when it is full."""
        self._fill()
        missing = min(amount, self.per_minute) - self._level
        return max(0.0, missing * 60 / self.per_minute)

    def take(self, amount: int) -> None:
        self._fill()
        self._level -= min(amount, self.per_minute)

    def lower_to(self, left: int) -> None:
        """The endpoint knows of `left`; it may count what others take, but never what is still on
        its way from here, so that its figure only ever lowers ours."""
        self._fill()
        self._level = min(self._level, float(left))

    def _fill(self) -> None:
        now = time.monotonic()
        filled = self._level + (now - self._at) * self.per_minute / 60
        self._level, self._at = min(self.per_minute, filled), now


class Limiter:
    """Lets requests through one after the other, as fast as the endpoint allows."""

    def __init__(
        self,
        in_flight: int,
        requests_per_minute: int | None,
        tokens_per_minute: int | None,
        *,
        frac: float = 1.0,
    ) -> None:
        """`frac` of all limits that are configured or stated is for this limiter to use."""
        given = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._given = {name: limit for name, limit in given.items() if limit is not None}
        self._frac = frac
        self._buckets = {name: Bucket(limit * frac) for name, limit in self._given.items()}
        self._in_flight = self._most = in_flight
        self._n_under_way = self._n_replies = self._n_refused = 0
        self.open_at = 0.0
        """End of the pause that was last asked for, on the clock of `time.monotonic`."""
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._tolerance = 0.0
        """Refusals that do not yet make all wait; grows with what is sent."""
        self._turn, self._changed = asyncio.Lock(), asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def counts_tokens(self) -> bool:
        return "tokens" in self._buckets

    async def admit(self, tokens: int) -> None:
        """Return when a request of so many tokens may be sent, and count it until it has
        `ended`."""
        while (pause := self.open_at - time.monotonic()) > 0 and not self._closed.is_set():
            await _within(pause, self._closed)
        # Past a pause all go at once; past anything else one goes after the other.
        if self._turn.locked() or self._wait_seconds(tokens) > 0:
            async with self._turn:
                while (wait := self._wait_seconds(tokens)) > 0:
                    self._changed.clear()
                    await _within(wait, self._changed)
        for name, bucket in self._buckets.items():
            bucket.take(1 if name == "requests" else tokens)
        self._n_under_way += 1
        most = TOLERATED_FRAC * self._in_flight
        self._tolerance = min(self._tolerance + TOLERATED_FRAC, most)

    def ended(self) -> None:
        """A request that was let through is over, with or without a reply."""
        self._n_under_way -= 1
        self._changed.set()

    def close(self) -> None:
        """Let through whoever waits: nothing more is sent."""
        self._closed.set()
        self._changed.set()

    def saw(self, limits: Stated) -> None:
        """Learn from the headers of a response; what the configuration says comes first."""
        self._learn("requests", limits.requests_per_minute, limits.requests_left)
        self._learn("tokens", limits.tokens_per_minute, limits.tokens_left)

    def succeeded(self) -> None:
        """A reply came; enough of them in a row, and more may be under way at once again."""
        self._n_replies += 1
        if self._most < self._in_flight and self._n_replies >= 2 * self._most:
            self._most = min(2 * self._most, self._in_flight)
            self._n_replies = 0
            self._changed.set()

    def pause(self, asked_seconds: float | None) -> None:
        """The endpoint said "too many requests": nobody asks it before its pause is over.

        Where it does not say for how long, a few among many are those requests' own affair. Where
        it refused more than it answered since the last pause, pauses grow and no more than it did
        answer are under way at once.
        """
        self._n_refused += 1
        now = time.monotonic()
        if asked_seconds is not None:
            self.open_at = max(self.open_at, now + asked_seconds)
            return
        if now < self.open_at:
            return  # one pause answers all that were on their way when it began
        self._tolerance -= 1
        if self._tolerance >= 0:
            return
        if self._n_refused > self._n_replies:
            self._most = max(1, min(self._most, self._n_replies))
            self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        else:
            self._pause_seconds = FIRST_PAUSE_SECONDS
        self._n_refused = self._n_replies = 0
        self._tolerance = 0.0
        self.open_at = now + self._pause_seconds * random.uniform(0.75, 1.25)

    def described(self) -> str:
        """The limits in force and where each comes from."""
        parts = [
            f"{bucket.per_minute:,.0f} {name} a minute "
            f"({'configured' if name in self._given else 'as the endpoint states'})"
            for name, bucket in self._buckets.items()
        ]
        return " and ".join(parts) or "none is configured or stated by the endpoint"

    def _learn(self, name: str, limit: int | None, left: int | None) -> None:
        if name not in self._given and limit:
            bucket = self._buckets.get(name)
            if bucket is None or bucket.per_minute != limit * self._frac:
                self._buckets[name] = Bucket(limit * self._frac)
        if left is not None and name in self._buckets:
            self._buckets[name].lower_to(left)

    def _wait_seconds(self, tokens: int) -> float:
        if self._closed.is_set():
            return 0.0
        if self._n_under_way >= self._most:
            return LONGEST_PAUSE_SECONDS
        waits = [
            bucket.wait_seconds(1 if name == "requests" else tokens)
            for name, bucket in self._buckets.items()
        ]
        return max([self.open_at - time.monotonic(), *waits])


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Return after `seconds`, or when `event` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _count(value: str | None) -> int | None:
    """A header's number; some send `-1` for "unknown" or fractions."""
    try:
        number = int(float(value)) if value is not None else -1
    except ValueError:
        return None
    return number if number >= 0 else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from milliseconds, seconds, a date, or the time until a limit is full again."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    return _duration(value) if re.fullmatch(r"[\d.hms]+", value) else _until(value)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _duration(value: str) -> float:
    """`1h2m3.5s` or `120ms` in seconds."""
    scale = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(n) * scale[u] for n, u in re.findall(r"(\d+\.?\d*)(ms|h|m|s)", value))


def _until(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
