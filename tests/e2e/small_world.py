"""A strong teacher, a weak one and a judge on loopback, for the paper in small.

Run as `python -m tests.e2e.small_world`: it prints its port and serves until its standard input
ends. The strong teacher knows the shipped records by heart; the weak one answers most questions
with what belongs to another. The judge knows them as well, and gives 1 to 10 points by ROUGE-L.
"""

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from llama_gpt4.prompt import render_prompt
from llama_gpt4.records import read_records
from llama_gpt4.rouge import mixed, rouge

WEAK_SHARE = 0.6
"""Of the weak teacher's answers that belong to another question."""

ONE = re.compile(r"### Instruction\n\n(.*?)\n\n### Response\n\n(.*?)\n\n### End of Response", re.S)
TWO = re.compile(
    r"\[Question\]\n(.*?)\n\n\[The Start of Assistant 1's Answer\]\n(.*?)\n\n\[The End of "
    r"Assistant 1's Answer\]\n\n\[The Start of Assistant 2's Answer\]\n(.*?)\n\n\[The End",
    re.S,
)


class World:
    """What the servers know."""

    def __init__(self) -> None:
        self._records = [r for language in ("en", "zh") for r in read_records(f"sample:{language}")]
        self._by_prompt = {render_prompt(r.instruction, r.input): r for r in self._records}
        self._by_question = {words(f"{r.instruction} {r.input}"): r for r in self._records}

    def reply(self, model: str, text: str) -> str:
        if model == "judge":
            return self._judgement(text)
        record = self._by_prompt[text]
        drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        if model == "weak" and drawn % 100 < 100 * WEAK_SHARE:
            record = self._records[drawn % len(self._records)]
        return record.output

    def _judgement(self, text: str) -> str:
        [(question, *answers)] = TWO.findall(text) or ONE.findall(text)
        points = " ".join(f"{self._points(question, answer):g}" for answer in answers)
        return f"{points}\nBy how much of the reference is in there."

    def _points(self, question: str, answer: str) -> float:
        reference = self._by_question[words(question)].output
        return round(2 * (1 + 9 * rouge(reference, answer, mixed).rouge_l.f)) / 2


def words(text: str) -> str:
    """What is asked, however instruction and input are put together."""
    return " ".join(text.split())


def completion(model: str, text: str, said: str) -> dict[str, object]:
    return {
        "id": hashlib.sha256(f"{model} {text}".encode()).hexdigest()[:16],
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": said},
            }
        ],
        "usage": {"prompt_tokens": len(text), "completion_tokens": len(said), "total_tokens": 0},
    }


def handler(world: World) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = asked["messages"][-1]["content"]
            said = world.reply(asked["model"], text)
            body = json.dumps(completion(asked["model"], text, said)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def main(lines: Iterator[str]) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(World()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    for _ in lines:
        pass


if __name__ == "__main__":
    main(sys.stdin)
