"""The three ways in which a request ends without a reply."""

from llama_gpt4_data.limits import Stated


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


class UnusableError(Exception):
    """No request to this endpoint will succeed."""
