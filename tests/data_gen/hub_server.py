"""As much of the Hugging Face hub's API as an upload needs, on loopback; it keeps what it is
sent."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_only_this_one"


class Hub(ThreadingHTTPServer):
    """Repositories by name: their visibility and files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["content-length"] or 0))
        if self.headers["authorization"] != f"Bearer {TOKEN}":
            return self.reply(401, {"error": "Invalid username or password."})
        path = self.path.partition("?")[0].strip("/").split("/")
        if path == ["api", "repos", "create"]:
            return self.create(json.loads(sent))
        if path == ["api", "validate-yaml"]:
            return self.reply(200, {"errors": [], "warnings": []})
        kind, repo, action = path[1], "/".join(path[2:4]), path[4]
        if kind != "datasets" or repo not in self.server.files:
            return self.reply(404, {"error": "Repository not found"})
        if action == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(sent)["files"]
            ]
            return self.reply(200, {"files": files})
        self.commit(repo, [json.loads(line) for line in sent.splitlines()])

    def do_GET(self) -> None:
        self.reply(404, {"error": "Entry not found"})

    def create(self, wanted: dict[str, Any]) -> None:
        owner = wanted.get("organization") or "me"
        repo = f"{owner}/{wanted['name']}"
        is_private = wanted.get("private") is True or wanted.get("visibility") == "private"
        self.server.private[repo] = is_private
        self.server.files.setdefault(repo, {})
        self.reply(200, {"url": f"{self.server.url}/datasets/{repo}", "name": repo})

    def commit(self, repo: str, operations: list[dict[str, Any]]) -> None:
        for operation in operations:
            if operation["key"] == "file":
                value = operation["value"]
                self.server.files[repo][value["path"]] = base64.b64decode(value["content"])
        url = f"{self.server.url}/datasets/{repo}/commit/{'a' * 40}"
        self.reply(200, {"success": True, "commitOid": "a" * 40, "commitUrl": url})

    def reply(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def running_hub() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
