"""The three ways in which a request ends without a reply, and which of them a status means."""

from llama_gpt4_data.limits import Stated

RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which the same request may succeed."""
ONE_REQUEST = frozenset({400, 413, 422})
"""Statuses that speak of one request; others below 500 (key, permission, model) of all."""
OF_CONTENT = frozenset({"context_length_exceeded", "string_above_max_length", "content_filter"})
"""Codes of rejections for what this very request has in it."""
OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes that come with 429 and do not pass by waiting."""


class TransientError(Exception):
    """The same request may succeed later."""

    def __init__(
        self, reason: str, limits: Stated, *, is_rate_limit: bool = False, is_paid: bool = False
    ):
        super().__init__(reason)
        self.limits, self.is_rate_limit = limits, is_rate_limit
        self.is_paid = is_paid
        """Whether the endpoint may have charged for an answer that did not arrive whole."""


class RejectedError(Exception):
    """This request will never succeed; others may."""

    def __init__(self, reason: str, *, is_own: bool = False):
        super().__init__(reason)
        self.is_own = is_own
        """Whether it surely says nothing about others."""


class UnusableError(Exception):
    """No request to this endpoint will succeed."""


def fault(
    status: int, code: str | None, kind: str | None, said: str, limits: Stated
) -> TransientError | RejectedError | UnusableError:
    """What a `status` of 400 or more means for the request that met it, and for others."""
    reason = f"{status}: {first_line(said)}"
    if code in OUT_OF_MONEY or kind in OUT_OF_MONEY:
        return UnusableError(f"{reason} (the account's money or quota is used up)")
    if status in RETRIED or status >= 500:
        return TransientError(reason, limits, is_rate_limit=status == 429)
    if status in ONE_REQUEST:
        return RejectedError(reason, is_own=code in OF_CONTENT)
    return UnusableError(reason)


def first_line(said: object) -> str:
    """What was said, short enough for a line of a log; some servers answer with a whole page."""
    text = " ".join(str(said).split()) or type(said).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"
