"""The only file that touches a network: a request to an endpoint, and what came of it.

It is the official client (its keys, addresses, Azure and status errors), called below its typed
methods, which spend more time on copying a request than on sending it, and without its retries,
which hold a place in the queue while they sleep and repeat what can never succeed.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import httpx2
import openai

from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.failures import RejectedError, TransientError, UnusableError
from llama_gpt4_data.limits import Stated, stated
from llama_gpt4_data.requests import Reply, Request

RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which the same request may succeed."""
ONE_REQUEST = frozenset({400, 413, 422})
"""Statuses that speak of one request; others below 500 (key, permission, model) of all."""
OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes that come with 429 and do not pass by waiting."""


class Client:
    """Sends requests to one endpoint."""

    def __init__(self, config: EndpointConfig, client: openai.AsyncOpenAI) -> None:
        self._config, self._client = config, client

    async def send(self, request: Request) -> tuple[Reply, Stated]:
        """The reply to `request`, and the limits that came with it; raises one of the three."""
        seconds = self._config.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.post(
                    "/chat/completions", body=request.body, cast_to=httpx2.Response
                )
        except TimeoutError:
            reason = f"no answer within {seconds:g} s"
            raise TransientError(reason, Stated(), is_paid=True) from None
        except openai.APIStatusError as error:
            raise _from_status(error) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            cause = _first_cause(error)
            if isinstance(cause, aiohttp.ClientConnectorError):
                reason = f"cannot connect ({cause.os_error.strerror or cause.os_error})"
                raise TransientError(reason, Stated()) from None
            reason = f"the connection broke ({_first_line(cause)})"
            raise TransientError(reason, Stated(), is_paid=True) from None
        limits = stated(response.headers)
        return _reply(request, response, limits), limits


@contextlib.asynccontextmanager
async def connect(config: EndpointConfig, key: str, in_flight: int) -> AsyncIterator[Client]:
    """A client of the endpoint, with as many connections as requests may be `in_flight`."""
    pool = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    # Nothing waits for ever: `send` has one time limit over all that these would limit in part.
    http = openai.DefaultAioHttpClient(limits=pool, timeout=None)
    common: dict[str, Any] = {"api_key": key, "max_retries": 0, "http_client": http}
    if config.kind == "azure":
        client: openai.AsyncOpenAI = openai.AsyncAzureOpenAI(
            azure_endpoint=config.address, api_version=config.api_version, **common
        )
    else:
        client = openai.AsyncOpenAI(base_url=config.address, **common)
    async with client:
        yield Client(config, client)


def _reply(request: Request, response: httpx2.Response, limits: Stated) -> Reply:
    try:
        answer = json.loads(response.content)
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        return Reply(
            key=request.key,
            text=choice["message"].get("content") or "",
            finish_reason=choice.get("finish_reason") or "stop",
            model=answer.get("model") or request.body["model"],
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            request_id=response.headers.get("x-request-id"),
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        reason = "the response has no answer in it"
        raise TransientError(reason, limits, is_paid=True) from None


def _from_status(error: openai.APIStatusError) -> Exception:
    status, code = error.status_code, error.code or ""
    said = f"{status}: {_said(error)}"
    if code in OUT_OF_MONEY or error.type in OUT_OF_MONEY:
        return UnusableError(f"{said} (the account's money or quota is used up)")
    if status in RETRIED or status >= 500:
        is_rate_limit = status == 429
        return TransientError(said, stated(error.response.headers), is_rate_limit=is_rate_limit)
    return RejectedError(said) if status in ONE_REQUEST else UnusableError(said)


def _said(error: openai.APIStatusError) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return _first_line(message or error.response.reason_phrase or type(error).__name__)


def _first_line(said: object) -> str:
    """What was said, short enough for a line of a log; some servers answer with a whole page."""
    text = " ".join(str(said).split()) or type(said).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"


def _first_cause(error: BaseException) -> BaseException:
    """What went wrong on the wire; the layers above call a refused connection a time-out."""
    cause = error
    while cause.__cause__ is not None and not isinstance(cause, aiohttp.ClientError):
        cause = cause.__cause__
    return cause
