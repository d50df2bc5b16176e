"""The files of a batch: requests in, a line each; answers and errors out, in any order."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from llama_gpt4_data.failures import RejectedError, TransientError, UnusableError, fault
from llama_gpt4_data.generation_config import BatchConfig
from llama_gpt4_data.limits import Stated
from llama_gpt4_data.requests import Reply, Request, reply_in

Failure = TransientError | RejectedError | UnusableError


def request_line(request: Request) -> bytes:
    """A line of a batch's input; its `custom_id`, by which the answer is known, is the key."""
    asked = {
        "custom_id": request.key,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": request.body,
    }
    return json.dumps(asked, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def cut(
    requests: Iterable[Request],
    limits: BatchConfig,
    most_usd: Callable[[Request], float],
    left_usd: float,
) -> list[bytes]:
    """The lines of the longest beginning of `requests` that fits into one file, and whose cost is
    sure to stay within what is left."""
    lines: list[bytes] = []
    n_bytes, usd = 0, 0.0
    for request in requests:
        line = request_line(request)
        n_bytes, usd = n_bytes + len(line), usd + most_usd(request)
        is_full = len(lines) == limits.most_requests or n_bytes > limits.most_bytes
        if is_full or usd > left_usd:
            break
        lines.append(line)
    return lines


def keys_of(content: bytes) -> set[str]:
    """The keys of the requests in a batch's input."""
    return {str(json.loads(line)["custom_id"]) for line in content.split(b"\n") if line}


def result(line: bytes, model: str) -> tuple[str, Reply | Failure] | None:
    """Whose request a line of output or errors is about, and what came of it; None: the line says
    neither. Only an answer with a status below 400 is a reply."""
    try:
        value = json.loads(line)
        key = value["custom_id"]
    except (ValueError, TypeError, KeyError):
        return None
    return (key, _outcome(value, key, model)) if isinstance(key, str) else None


def _outcome(value: dict[str, Any], key: str, model: str) -> Reply | Failure:
    response, error = value.get("response"), value.get("error")
    status = response.get("status_code") if isinstance(response, dict) else None
    if not isinstance(response, dict) or not isinstance(status, int):
        # Not reached before the batch expired or was cancelled, or lost on the way.
        return TransientError(str(_fields(error).get("code") or "no response"), Stated())
    body = response.get("body")
    if status >= 400:
        said = _fields(_fields(body).get("error") or error)
        message = said.get("message") or "no message"
        return fault(status, said.get("code"), said.get("type"), message, Stated())
    reply = reply_in(body, key=key, model=model, request_id=response.get("request_id"))
    if error or reply is None:
        reason = _fields(error).get("code") or "the response has no answer in it"
        return TransientError(str(reason), Stated(), is_paid=True)
    return replace(reply, is_batch=True)


def _fields(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
