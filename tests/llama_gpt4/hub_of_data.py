"""As much of the Hugging Face hub as `datasets` asks for, on loopback: one data set, `o/n`."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40
FILE = "data.jsonl"


@contextmanager
def running_hub_of(content: bytes) -> Iterator[str]:
    """Its address; `content` is the data set's only file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in ("/api/datasets/o/n", f"/api/datasets/o/n/revision/{COMMIT}"):
                files = [{"rfilename": FILE}]
                return self.reply({"id": "o/n", "sha": COMMIT, "siblings": files, "tags": []})
            if path == f"/api/datasets/o/n/tree/{COMMIT}":
                return self.reply(
                    [{"type": "file", "path": FILE, "size": len(content), "oid": "b" * 40}]
                )
            if path == f"/datasets/o/n/resolve/{COMMIT}/{FILE}":
                return self.reply(content, {"ETag": f'"{"b" * 40}"', "X-Repo-Commit": COMMIT})
            self.reply({"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}, 404)

        do_HEAD = do_GET

        def reply(self, body: Any, headers: Mapping[str, str] = {}, status: int = 200) -> None:
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(sent)))
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(sent)

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
