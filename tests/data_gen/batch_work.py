"""What a batch service finds wrong with a batch's input, and the lines that it puts out."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from .teacher_faults import REFUSALS, marked
from .teacher_server import Teacher

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BatchFaults:
    """How a batch service behaves."""

    ends: Sequence[str] = ()
    """Of one batch after the other: `completed`, `expired` (half of it is done), `failed` (nothing
    is); the rest complete."""
    polls_in_progress: int = 1
    """Times that a batch is asked for and is still at work."""
    failed_in_output: float = 0.0
    """Share of lines of the output file whose response has a status of 400 or more."""
    failed_apart: float = 0.0
    """Share of requests that are in the error file only."""
    missing: float = 0.0
    """Share of requests of which no file says anything."""
    seed: int = 0
    most_requests: int = 50_000
    most_bytes: int = 200 * 10**6


def input_faults(lines: list[bytes], faults: BatchFaults) -> list[Body]:
    """What makes the service refuse a whole batch; at most the first fault of each kind."""
    found: dict[str, Body] = {}

    def say(code: str, message: str, line: int | None = None) -> None:
        found.setdefault(code, {"code": code, "message": message, "line": line, "param": None})

    if not lines:
        say("empty_file", "The input file has no requests.")
    if len(lines) > faults.most_requests:
        say("too_many_requests", f"A batch has at most {faults.most_requests} requests.")
    ids, models = set(), set()
    for number, line in enumerate(lines, 1):
        try:
            request = json.loads(line)
        except json.JSONDecodeError:
            say("invalid_json_line", "This line is not JSON.", number)
            continue
        if request.get("method") != "POST" or request.get("url") != "/v1/chat/completions":
            say("invalid_url", "method and url do not fit the batch's endpoint.", number)
        if request.get("custom_id") in ids:
            say("duplicate_custom_id", f"{request['custom_id']} was there before.", number)
        ids.add(request.get("custom_id"))
        models.add(request["body"]["model"])
    if len(models) > 1:
        say("mismatched_model", "All requests of a batch name one model.")
    return list(found.values())


def done_lines(
    lines: list[bytes], end: str, faults: BatchFaults, teacher: Teacher, batch_id: str
) -> tuple[list[bytes], list[bytes]]:
    """Output and error file of a batch that came to `end`, each in an order of its own."""
    chance = random.Random(f"{faults.seed} {batch_id}")
    requests = [json.loads(line) for line in lines]
    chance.shuffle(requests)
    n_done = len(requests) if end == "completed" else len(requests) // 2
    files: dict[str, list[bytes]] = {"output": [], "errors": [], "none": []}
    for request in requests[:n_done]:
        where, line = _done(request, teacher, faults, chance.random())
        files[where].append(line)
    if end == "expired":
        files["errors"] += [_unreached(request) for request in requests[n_done:]]
    return files["output"], files["errors"]


def _done(request: Body, teacher: Teacher, faults: BatchFaults, draw: float) -> tuple[str, bytes]:
    """In which file a request ends, and its line there. Only an answer is charged for."""
    body, key = request["body"], _key(request)
    teacher.journal.attempts[key] += 1
    attempt = teacher.journal.attempts[key]
    kind, _ = marked(body["messages"][-1]["content"], attempt)
    if kind in REFUSALS:
        assert kind
        return "errors", _line(request, REFUSALS[kind].status, REFUSALS[kind].body())
    for where, share in (
        ("none", faults.missing),
        ("output", faults.failed_in_output),
        ("errors", faults.failed_apart),
    ):
        draw -= share
        if draw < 0:
            return where, _line(request, 500, REFUSALS["500"].body())
    return "output", _line(request, 200, teacher.completion(body, key, kind))


def _key(request: Body) -> str:
    return sha256(json.dumps(request["body"], sort_keys=True).encode()).hexdigest()[:32]


def _line(request: Body, status: int, body: Body) -> bytes:
    return _json(
        {
            "id": f"batch_req_{_key(request)[:8]}",
            "custom_id": request["custom_id"],
            "response": {"status_code": status, "request_id": _key(request)[:16], "body": body},
            "error": None,
        }
    )


def _unreached(request: Body) -> bytes:
    message = "This request could not be executed before the completion window expired."
    return _json(
        {
            "id": f"batch_req_{_key(request)[:8]}",
            "custom_id": request["custom_id"],
            "response": None,
            "error": {"code": "batch_expired", "message": message},
        }
    )


def _json(value: Body) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
