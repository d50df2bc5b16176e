"""An OpenAI-compatible server with real faults, on loopback, as a process of its own.

    python -m tests.data_gen.teacher_server --port 0 latency_seconds=0.2 'faults={"429": 0.05}'

prints its port and ends when its standard input does. It speaks just enough HTTP/1.1 over a plain
`asyncio.Protocol` to cost a tenth of a client's request: benchmarks measure clients, not this.

POST /v1/chat/completions, and Azure's path   answers, or the fault that the request is to meet
GET  /v1/models, /health
GET  /stats                                   the journal
POST /reset                                   new settings, empty journal, connections closed
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from . import teacher_answers as answers
from .teacher_faults import AT_ONCE, CONNECTION, REFUSALS, TeacherSettings, by_chance, marked
from .teacher_journal import Journal
from .teacher_judge import verdict
from .teacher_quota import Quota, retry_after

PHRASES = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
PHRASES |= {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}

Body = dict[str, Any]


class Teacher:
    """What all connections share: settings, quota, journal."""

    def __init__(self, settings: TeacherSettings) -> None:
        self.connections: set[Connection] = set()
        self.reset(settings)

    def reset(self, settings: TeacherSettings) -> None:
        self.settings = settings
        self.journal = Journal()
        limits = settings.requests_per_minute, settings.tokens_per_minute
        self.quota = Quota(*limits, settings.burst_seconds) if any(limits) else None
        self.first_max_tokens: dict[str, int] = {}

    def fault(self, body: Body, key: str, attempt: int, api_key: bytes | None) -> str | None:
        """What this attempt meets beside quotas; None is a good answer."""
        wanted = self.settings.api_key
        if wanted is not None and api_key != wanted.encode():
            return "401"
        if self.settings.models is not None and body["model"] not in self.settings.models:
            return "404"
        return by_chance(self.settings, key, attempt)

    def completion(self, body: Body, key: str, kind: str | None) -> Body:
        """The response of status 200; `kind` is a fault of its content."""
        question, known = answers.question_of(body["messages"])
        text = verdict(question, self.settings, self.journal.attempts[key])
        text = answers.answer(question)[len(known) :] if text is None else text
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or sys.maxsize
        if kind == "foreign":
            text = answers.answer_in_the_wrong_language(question)
        elif kind == "refusal":
            text = answers.REFUSAL
        elif kind in ("empty", "content_filter"):
            text = ""
        elif kind == "length" and not known:
            # Whoever asks again with room for more gets the whole answer.
            first = self.first_max_tokens.setdefault(question, limit)
            limit = min(limit, answers.n_tokens(text) // 2) if limit <= first else limit
        reason = "content_filter" if kind == "content_filter" else "stop"
        if answers.n_tokens(text) > limit:
            text, reason = answers.cut(text, limit), "length"
        n_choices = body.get("n") or 1
        prompt_tokens = sum(4 + answers.n_tokens(m["content"]) for m in body["messages"])
        completion_tokens = n_choices * answers.n_tokens(text)
        self.journal.answered(key, prompt_tokens, completion_tokens)
        return {
            "id": f"chatcmpl-{key[:24]}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [
                {
                    "index": i,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": reason,
                }
                for i in range(n_choices)
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }


class Connection(asyncio.Protocol):
    """One client's connection: requests one after another, as HTTP/1.1 without pipelining."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.waiting: tuple[asyncio.TimerHandle, str] | None = None
        """The request in flight: when it will be answered, and its key."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.made_at = transport, time.time()
        self.teacher.connections.add(self)
        self.teacher.journal.connections += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.teacher.connections.discard(self)
        if self.waiting:
            timer, key = self.waiting
            timer.cancel()
            self.teacher.journal.ended(time.time(), key, "abandoned")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end]
        length = int(_header(head, b"content-length") or 0)
        if len(self.buffer) < end + 4 + length:
            return
        body = self.buffer[end + 4 : end + 4 + length]
        self.buffer = self.buffer[end + 4 + length :]
        method, path, _ = head.split(b" ", 2)
        self.handle(method, path.partition(b"?")[0], head, body)

    def handle(self, method: bytes, path: bytes, head: bytes, body: bytes) -> None:
        if method == b"POST" and path.endswith(b"/chat/completions"):
            self.chat(path, head, body)
        elif method == b"POST" and path == b"/reset":
            self.reset(json.loads(body))
        elif path == b"/stats":
            self.send(200, self.teacher.journal.report())
        elif path == b"/v1/models":
            models = [
                {"id": name, "object": "model"} for name in self.teacher.settings.models or ()
            ]
            self.send(200, {"object": "list", "data": models})
        elif path == b"/health":
            self.send(200, {"status": "ok", "settings": asdict(self.teacher.settings)})
        else:
            self.send(404, {"error": {"message": "no such path", "type": None, "code": None}})

    def reset(self, settings: Body) -> None:
        """What the test before left in flight ends here and is in no journal."""
        for connection in self.teacher.connections - {self}:
            if connection.waiting:
                connection.waiting[0].cancel()
                connection.waiting = None
            connection.transport.abort()
        self.teacher.reset(TeacherSettings(**settings))
        self.send(200, {"status": "ok"})

    def chat(self, path: bytes, head: bytes, raw: bytes) -> None:
        teacher = self.teacher
        body = json.loads(raw)
        if not body["messages"]:  # curator asks so for the headers; no model is asked
            return self.send(400, REFUSALS["400"].body(), headers=self.quota_headers())
        bearer = _header(head, b"authorization")
        api_key = bearer.removeprefix(b"Bearer ") if bearer else _header(head, b"api-key")
        key, attempt = teacher.journal.received(self.made_at, raw, api_key)
        if path.startswith(b"/openai/deployments/"):
            body["model"] = path.split(b"/")[3].decode()
        kind, wait_seconds = None, 0.0
        if b"[[" in raw:
            kind, wait_seconds = marked(body["messages"][-1]["content"], attempt)
        kind = kind or teacher.fault(body, key, attempt, api_key)
        over_seconds = self.over_quota(body)
        if over_seconds:
            self.refuse(key, "limited", "429", over_seconds)
        elif kind in AT_ONCE:
            assert kind
            self.refuse(key, kind, kind, teacher.settings.retry_after_seconds)
        else:
            delay = teacher.settings.latency_seconds + wait_seconds
            delay = 1e9 if kind == "hang" else delay
            self.waiting = self.loop.call_later(delay, partial(self.answer, body, key, kind)), key

    def over_quota(self, body: Body) -> float:
        """Seconds until the quota has room for this request; 0 if it has."""
        if self.teacher.quota is None:
            return 0.0
        wanted = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        wanted += sum(4 + answers.n_tokens(m["content"]) for m in body["messages"])
        return self.teacher.quota.take(wanted, self.loop.time())

    def refuse(self, key: str, end: str, kind: str, retry_seconds: float) -> None:
        self.teacher.journal.ended(time.time(), key, end)
        refusal = REFUSALS[kind]
        headers = retry_after(retry_seconds) if kind == "429" else ""
        self.send(refusal.status, refusal.body(), key, headers)

    def answer(self, body: Body, key: str, kind: str | None) -> None:
        """The end of a request that waited for the latency."""
        self.waiting = None
        if kind in REFUSALS:
            assert kind
            return self.refuse(key, kind, kind, 0.0)
        self.teacher.journal.ended(time.time(), key, kind or "ok")
        if kind in CONNECTION:
            return self.break_off(key, has_begun=kind == "half")
        if kind == "malformed":
            return self.send_raw(200, b'{"id": "chatcmpl-', key)
        if kind == "no-choices":
            return self.send(200, {"id": "chatcmpl-0", "model": body["model"], "usage": None}, key)
        self.send(200, self.teacher.completion(body, key, kind), key)

    def break_off(self, key: str, has_begun: bool) -> None:
        if has_begun:
            self.transport.write(_response(200, 600, key, "") + b'{"id": "chatcmpl-0", "object": ')
            self.transport.close()
        else:
            self.transport.abort()

    def send(self, status: int, content: Body, key: str = "", headers: str = "") -> None:
        self.send_raw(status, json.dumps(content, ensure_ascii=False).encode(), key, headers)

    def send_raw(self, status: int, content: bytes, key: str, headers: str = "") -> None:
        headers += self.quota_headers() if key else ""
        self.transport.write(_response(status, len(content), key, headers) + content)

    def quota_headers(self) -> str:
        return self.teacher.quota.headers() if self.teacher.quota else ""


def _response(status: int, length: int, key: str, headers: str) -> bytes:
    head = f"HTTP/1.1 {status} {PHRASES[status]}\r\ncontent-type: application/json\r\n"
    head += f"content-length: {length}\r\nx-request-id: req_{key}\r\n{headers}\r\n"
    return head.encode()


def _header(head: bytes, name: bytes) -> bytes | None:
    """The value of a header; `name` in lower case."""
    start = head.lower().find(b"\r\n" + name + b":")
    if start < 0:
        return None
    end = head.find(b"\r\n", start + 2)
    return head[start + len(name) + 3 : end if end >= 0 else len(head)].strip()


async def serve(port: int, settings: TeacherSettings) -> None:
    loop = asyncio.get_running_loop()
    teacher = Teacher(settings)
    server = await loop.create_server(
        lambda: Connection(teacher), "127.0.0.1", port, backlog=4096, reuse_address=True
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started this holds the other end of the pipe: even a killed test leaves no server.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main(argv: Sequence[str]) -> None:
    """`--port N`, then settings as `key=JSON`."""
    assert argv[0] == "--port", __doc__
    values = (argument.partition("=") for argument in argv[2:])
    settings = TeacherSettings(**{key: json.loads(value) for key, _, value in values})
    asyncio.run(serve(int(argv[1]), settings))


if __name__ == "__main__":
    main(sys.argv[1:])
