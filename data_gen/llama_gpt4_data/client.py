"""The only file that touches a network: a request to an endpoint, and what came of it; batches of
requests, and where they stand.

It is the official client (its keys, addresses, Azure and status errors), without its retries, which
hold a place in the queue while they sleep and repeat what can never succeed. Single requests are
sent below its typed methods, which spend more time on copying a request than on sending it.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import httpx2
import openai
from openai.types import Batch

from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.failures import TransientError, fault, first_line
from llama_gpt4_data.limits import Stated, stated
from llama_gpt4_data.requests import Reply, Request, reply_in

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RemoteBatch:
    """A batch of requests as the endpoint sees it."""

    id: str
    status: str
    """`completed`, `failed`, `expired` and `cancelled` are ends."""
    input_file_id: str
    n_completed: int
    n_failed: int
    file_ids: tuple[str, ...]
    """Of what came out: answers, errors, both or neither."""
    errors: tuple[tuple[str, str], ...]
    """Code and message of what is wrong with the batch as a whole."""

    @property
    def has_ended(self) -> bool:
        return self.status in ("completed", "failed", "expired", "cancelled")


class Client:
    """Sends requests to one endpoint; whatever goes wrong is one of the three failures."""

    def __init__(self, config: EndpointConfig, client: openai.AsyncOpenAI) -> None:
        self._config, self._client = config, client

    async def send(self, request: Request) -> tuple[Reply, Stated]:
        """The reply to `request`, and the limits that came with it."""
        async with self._call():
            response = await self._client.post(
                "/chat/completions", body=request.body, cast_to=httpx2.Response
            )
        limits = stated(response.headers)
        return _reply(request, response, limits), limits

    async def upload(self, name: str, content: bytes) -> str:
        """The id of a new file of batch input."""
        async with self._call():
            file = await self._client.files.create(file=(name, content), purpose="batch")
        return _checked(lambda: file.id)

    async def create_batch(self, input_file_id: str, metadata: Mapping[str, str]) -> RemoteBatch:
        async with self._call():
            batch = await self._client.batches.create(
                input_file_id=input_file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata=dict(metadata),
            )
        return _remote(batch)

    async def find_batch(self, input_file_id: str) -> RemoteBatch | None:
        """The batch of that input, where one was made."""
        async with self._call():
            async for batch in self._client.batches.list(limit=100):
                found = _remote(batch)
                if found.input_file_id == input_file_id:
                    return found
        return None

    async def batch(self, batch_id: str) -> RemoteBatch:
        async with self._call():
            batch = await self._client.batches.retrieve(batch_id)
        return _remote(batch)

    async def cancel_batch(self, batch_id: str) -> RemoteBatch:
        async with self._call():
            batch = await self._client.batches.cancel(batch_id)
        return _remote(batch)

    async def content(self, file_id: str) -> bytes:
        async with self._call():
            response = await self._client.files.content(file_id)
        return response.content

    @contextlib.asynccontextmanager
    async def _call(self) -> AsyncIterator[None]:
        """One exchange with the endpoint, within its time."""
        seconds = self._config.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            reason = f"no answer within {seconds:g} s"
            raise TransientError(reason, Stated(), is_paid=True) from None
        except openai.APIStatusError as error:
            raise _from_status(error) from None
        except (openai.APIResponseValidationError, json.JSONDecodeError):
            raise TransientError("the response is no JSON", Stated(), is_paid=True) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            cause = _first_cause(error)
            if isinstance(cause, aiohttp.ClientConnectorError):
                reason = f"cannot connect ({cause.os_error.strerror or cause.os_error})"
                raise TransientError(reason, Stated()) from None
            reason = f"the connection broke ({first_line(cause)})"
            raise TransientError(reason, Stated(), is_paid=True) from None


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
    except ValueError:
        answer = None
    reply = reply_in(
        answer,
        key=request.key,
        model=request.body["model"],
        request_id=response.headers.get("x-request-id"),
    )
    if reply is None:
        raise TransientError("the response has no answer in it", limits, is_paid=True)
    return reply


def _remote(batch: Batch) -> RemoteBatch:
    counts, errors = batch.request_counts, batch.errors.data if batch.errors else None
    files = (batch.output_file_id, batch.error_file_id)
    return _checked(
        lambda: RemoteBatch(
            id=batch.id,
            status=batch.status,
            input_file_id=batch.input_file_id,
            n_completed=counts.completed if counts else 0,
            n_failed=counts.failed if counts else 0,
            file_ids=tuple(file_id for file_id in files if file_id),
            errors=tuple((error.code or "", error.message or "") for error in errors or ()),
        )
    )


def _checked(read: Callable[[], T]) -> T:
    """What `read` gives; the official client takes any JSON for what was asked for."""
    try:
        return read()
    except (AttributeError, TypeError):
        reason = "the response is not what was asked for"
        raise TransientError(reason, Stated(), is_paid=True) from None


def _from_status(error: openai.APIStatusError) -> Exception:
    limits = stated(error.response.headers)
    return fault(error.status_code, error.code, error.type, _said(error), limits)


def _said(error: openai.APIStatusError) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or error.response.reason_phrase or type(error).__name__)


def _first_cause(error: BaseException) -> BaseException:
    """What went wrong on the wire; the layers above call a refused connection a time-out."""
    cause = error
    while cause.__cause__ is not None and not isinstance(cause, aiohttp.ClientError):
        cause = cause.__cause__
    return cause
