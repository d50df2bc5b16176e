"""OpenAI's batch service on loopback, with the ends that batches come to.

    with running_batch_server(ends=["expired", "completed"]) as server: … server.base_url …

Files, batches and their states are those of the real one; a batch goes a state further each time
that somebody asks for it. npm's aimock has these paths, too, but one answer to all questions, no
output of batches that expire, and results in order: what a client has to cope with is not there.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

from .batch_work import BatchFaults, done_lines, input_faults
from .teacher_faults import TeacherSettings
from .teacher_journal import key_hash
from .teacher_server import Teacher

Body = dict[str, Any]
TERMINAL = ("completed", "failed", "expired", "cancelled")


class Refused(Exception):
    """The service says no: status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BatchService:
    """Files and batches. Its methods are the service's paths; one request at a time."""

    def __init__(self, faults: BatchFaults) -> None:
        self.faults = faults
        self.teacher = Teacher(TeacherSettings())
        """Who answers, and whose journal tells what was answered how often."""
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Body] = {}
        self.server_errors = 0
        """So many requests from now on meet status 500."""
        self._serial = count(1)
        self._polls: dict[str, int] = {}
        self._ends = iter(faults.ends)

    def upload(self, content: bytes, purpose: str) -> Body:
        if purpose != "batch":
            raise Refused(400, f"purpose {purpose!r} is not 'batch'")
        if len(content) > self.faults.most_bytes:
            raise Refused(413, f"The file is larger than {self.faults.most_bytes} bytes.")
        return self._file(self._store(content))

    def create(self, asked: Body) -> Body:
        if asked.get("endpoint") != "/v1/chat/completions":
            raise Refused(400, "Only /v1/chat/completions is known.")
        if asked.get("completion_window") != "24h":
            raise Refused(400, "completion_window must be '24h'.")
        if asked.get("input_file_id") not in self.files:
            raise Refused(400, f"No such File object: {asked.get('input_file_id')}")
        batch_id = f"batch_{next(self._serial)}"
        batch = {
            "id": batch_id,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "errors": None,
            "input_file_id": asked["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": 1_700_000_000,
            "expires_at": 1_700_086_400,
            "metadata": asked.get("metadata"),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self.batches[batch_id], self._polls[batch_id] = batch, 0
        return batch

    def retrieve(self, batch_id: str) -> Body:
        """The batch, which has gone a state further since somebody asked last."""
        batch = self._known(self.batches, batch_id)
        if batch["status"] == "validating":
            self._validate(batch)
        elif batch["status"] == "cancelling":
            self._end(batch, "cancelled")
        elif batch["status"] == "in_progress":
            self._polls[batch_id] += 1
            if self._polls[batch_id] > self.faults.polls_in_progress:
                self._end(batch, next(self._ends, "completed"))
        return batch

    def cancel(self, batch_id: str) -> Body:
        batch = self._known(self.batches, batch_id)
        if batch["status"] in TERMINAL:
            raise Refused(409, f"Cannot cancel a batch with status '{batch['status']}'.")
        batch["status"] = "cancelling"
        return batch

    def content(self, file_id: str) -> bytes:
        return self._known(self.files, file_id)

    def file(self, file_id: str) -> Body:
        self._known(self.files, file_id)
        return self._file(file_id)

    def delete(self, file_id: str) -> Body:
        self._known(self.files, file_id)
        del self.files[file_id]
        return {"id": file_id, "object": "file", "deleted": True}

    def list_batches(self) -> Body:
        newest_first = list(reversed(self.batches.values()))
        return {"object": "list", "data": newest_first, "has_more": False}

    def _validate(self, batch: Body) -> None:
        lines = self.files[batch["input_file_id"]].splitlines()
        faults = input_faults(lines, self.faults)
        batch["request_counts"]["total"] = len(lines)
        if faults:
            batch["status"] = "failed"
            batch["errors"] = {"object": "list", "data": faults}
        else:
            batch["status"] = "in_progress"

    def _end(self, batch: Body, end: str) -> None:
        batch["status"] = end
        if end == "failed":
            code = "token_limit_exceeded"
            error = {"code": code, "message": "Enqueued token limit reached.", "line": None}
            batch["errors"] = {"object": "list", "data": [error]}
            return
        lines = self.files[batch["input_file_id"]].splitlines()
        output, errors = done_lines(lines, end, self.faults, self.teacher, batch["id"])
        batch["output_file_id"] = self._store(b"".join(output)) if output else None
        batch["error_file_id"] = self._store(b"".join(errors)) if errors else None
        n_failed = sum(b'"status_code": 200' not in line for line in output) + len(errors)
        batch["request_counts"] |= {
            "completed": len(output) + len(errors) - n_failed,
            "failed": n_failed,
        }

    def _store(self, content: bytes) -> str:
        file_id = f"file-{next(self._serial)}"
        self.files[file_id] = content
        return file_id

    def _file(self, file_id: str) -> Body:
        return {
            "id": file_id,
            "object": "file",
            "bytes": len(self.files[file_id]),
            "created_at": 1_700_000_000,
            "filename": f"{file_id}.jsonl",
            "purpose": "batch",
            "status": "processed",
        }

    def _known(self, things: dict[str, Any], name: str) -> Any:
        if name not in things:
            raise Refused(404, f"No such object: {name}")
        return things[name]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms between its head and its body
    service: BatchService
    lock: threading.Lock

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def do_DELETE(self) -> None:
        self._serve(lambda parts, body: self.service.delete(parts[1]))

    def _get(self, parts: list[str], body: bytes) -> Body | bytes:
        match parts:
            case ["batches"]:
                return self.service.list_batches()
            case ["batches", batch_id]:
                return self.service.retrieve(batch_id)
            case ["files", file_id, "content"]:
                return self.service.content(file_id)
            case ["files", file_id]:
                return self.service.file(file_id)
        raise Refused(404, "no such path")

    def _post(self, parts: list[str], body: bytes) -> Body:
        match parts:
            case ["files"]:
                form = _form(body, self.headers["content-type"])
                return self.service.upload(form["file"], form["purpose"].decode())
            case ["batches"]:
                return self.service.create(json.loads(body))
            case ["batches", batch_id, "cancel"]:
                return self.service.cancel(batch_id)
        raise Refused(404, "no such path")

    def _serve(self, what: Callable[[list[str], bytes], Body | bytes]) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = self.path.partition("?")[0].removeprefix("/v1/").strip("/").split("/")
        key = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        with self.lock:
            self.service.teacher.journal.keys[key_hash(key.encode()) if key else "none"] += 1
            status, answer = self._answer(what, parts, body)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(
        self, what: Callable[[list[str], bytes], Body | bytes], parts: list[str], body: bytes
    ) -> tuple[int, Body | bytes]:
        if self.service.server_errors:
            self.service.server_errors -= 1
            return 500, {"error": {"message": "The server had an error.", "type": "server_error"}}
        try:
            return 200, what(parts, body)
        except Refused as no:
            return no.status, {"error": {"message": str(no), "type": "invalid_request_error"}}

    def log_message(self, format: str, *args: Any) -> None:
        """Tests look at the journal."""


class BatchServer:
    """A running service: its address, and the service itself to look at and to change."""

    def __init__(self, service: BatchService, port: int) -> None:
        self.service, self.base_url = service, f"http://127.0.0.1:{port}/v1"

    @property
    def paid_twice(self) -> int:
        """Answers beyond the first for the same body, over all batches."""
        return sum(n - 1 for n in self.service.teacher.journal.answers.values())


@contextmanager
def running_batch_server(**faults: Any) -> Iterator[BatchServer]:
    """The service on a free port of loopback, in a thread; `faults` are those of `BatchFaults`."""
    service = BatchService(BatchFaults(**faults))
    handler = type("BoundHandler", (Handler,), {"service": service, "lock": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield BatchServer(service, server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _form(body: bytes, content_type: str) -> dict[str, bytes]:
    """The fields of multipart/form-data."""
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    fields = {}
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        fields[name] = content.removesuffix(b"\r\n")
    return fields
