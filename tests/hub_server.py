"""As much of the Hugging Face hub's API as an upload needs, on loopback; it keeps what it is
sent."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hf_only_this_one"


class Hub(ThreadingHTTPServer):
    """Repositories by name: their kind, visibility and files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.kinds: dict[str, str] = {}
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        """Contents by SHA-256, as Git LFS takes them before the commit that names them."""

    def environment(self, home: Path, token: str = TOKEN) -> dict[str, str]:
        """What a process needs to take this for the hub; its client reads it when imported."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": token,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
        }


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
        if path[-3:] == ["lfs", "objects", "batch"]:
            return self.take_large(json.loads(sent)["objects"])
        kind, repo, action = path[1], "/".join(path[2:4]), path[4]
        if self.server.kinds.get(repo) != kind:
            return self.reply(404, {"error": "Repository not found"})
        if action == "preupload":
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(sent)["files"]
            ]
            return self.reply(200, {"files": files})
        self.commit(repo, [json.loads(line) for line in sent.splitlines()])

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"] or 0))
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != oid:
            return self.reply(400, {"error": "Content has another hash"})
        self.server.large[oid] = content
        self.reply(200, {})

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/").split("/")
        kind, repo = path[1], "/".join(path[2:4])
        if path[0] != "api" or self.server.kinds.get(repo) != kind:
            return self.reply(404, {"error": "Entry not found"})
        if path[4:] == ["tree", "main"]:
            files = self.server.files[repo].items()
            return self.reply(200, [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in files
            ])  # fmt: skip
        self.reply(200, {"id": repo, "private": self.server.private[repo], "tags": []})

    def create(self, wanted: dict[str, Any]) -> None:
        owner = wanted.get("organization") or "me"
        repo, kind = f"{owner}/{wanted['name']}", f"{wanted.get('type') or 'model'}s"
        folder = "" if kind == "models" else f"{kind}/"
        answer = {"url": f"{self.server.url}/{folder}{repo}", "name": repo}
        if repo in self.server.kinds:
            return self.reply(409, {"error": "You already created this repo"} | answer)
        is_private = wanted.get("private") is True or wanted.get("visibility") == "private"
        self.server.kinds[repo] = kind
        self.server.private[repo] = is_private
        self.server.files[repo] = {}
        self.reply(200, answer)

    def take_large(self, objects: list[dict[str, Any]]) -> None:
        wanted = [
            {"oid": each["oid"], "size": each["size"], "actions": {
                "upload": {"href": f"{self.server.url}/lfs/{each['oid']}"}
            }}
            for each in objects
        ]  # fmt: skip
        self.reply(200, {"transfer": "basic", "objects": wanted})

    def commit(self, repo: str, operations: list[dict[str, Any]]) -> None:
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                self.server.files[repo][value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                self.server.files[repo][value["path"]] = self.server.large[value["oid"]]
            elif operation["key"] == "deletedFile":
                del self.server.files[repo][value["path"]]
        url = f"{self.server.url}/{repo}/commit/{'a' * 40}"
        self.reply(200, {"success": True, "commitOid": "a" * 40, "commitUrl": url})

    def reply(self, status: int, content: Any) -> None:
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
