"""The page for votes, served by the command line: over HTTP, killed, and in a real browser."""

import json
import re
import shutil
import signal
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.evaluate import main
from llama_gpt4.evaluation.ballot import CRITERIA
from llama_gpt4.evaluation.votes import Votes
from tests.command import CLI, ENVIRONMENT

pytestmark = pytest.mark.e2e

CHROMIUM = shutil.which("chromium")
FIRST, SECOND = "secretfirst", "secretsecond"
HOSTILE = [
    "<script>window.pwned = 1</script> after the script",
    "<img src=x onerror='window.pwned = 1'> and <img src=http://evil.example/i.png>",
    "<svg onload='window.pwned = 1'></svg> [click](javascript:window.pwned=1)",
    "![remote](http://evil.example/p.png) <iframe src='http://evil.example'></iframe>",
    "```html\n</code></pre><script>window.pwned = 1</script>\n```",
    "<style>@import 'http://evil.example/s.css';</style> <base href='http://evil.example/'>",
]
CHINESE = "答案：**人工智能**是一门学科。"


@dataclass
class Served:
    """A server of ours and the links that it printed."""

    process: subprocess.Popen[str]
    links: dict[str, str]
    votes: Path


def start(folder: Path, *more: str) -> Served:
    command = [*CLI, "evaluate", "metric=human", "action=serve", "port=0", *more]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stdout
    process.stdout.readline()
    links = dict(process.stdout.readline().split() for _ in range(2))
    return Served(process, links, folder / "votes.sqlite")


def write_answers(folder: Path, n: int) -> list[str]:
    for name, texts in ((FIRST, HOSTILE), (SECOND, [CHINESE])):
        lines = [
            {
                "question_id": i,
                "question": f"问题 {i}: <b>why?</b>",
                "answer": texts[i % len(texts)],
            }
            for i in range(n)
        ]
        text = "\n".join(json.dumps(line) for line in lines)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")
    return [f"answers={{{FIRST}: {FIRST}.jsonl, {SECOND}: {SECOND}.jsonl}}", "voters=[anna,bo]"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("votes")
    server = start(folder, *write_answers(folder, len(HOSTILE)))
    yield server
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0
    assert server.process.stdout and "stopped: " in server.process.stdout.read()


def get(address: str, choices: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Status, headers and body; redirects are followed."""
    data = None if choices is None else urllib.parse.urlencode(choices).encode()
    try:
        with urllib.request.urlopen(address, data, timeout=30) as answer:
            return answer.status, f"{answer.url}\n{answer.headers}", answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, str(error.headers), error.read().decode()


def test_every_response_has_the_headers_and_no_name(served: Served) -> None:
    link = served.links["anna"]
    root = link.split("/v/")[0]
    pages = [f"{link}{place}" for place in range(1, len(HOSTILE) + 1)]
    known = [link, *pages, f"{root}/page/vote.css", f"{root}/page/vote.js"]
    for address, code in [(a, 200) for a in known] + [
        (f"{link}99", 404), (f"{root}/v/guessed/1", 404), (f"{root}/", 404)
    ]:  # fmt: skip
        status, headers, body = get(address)
        assert status == code, address
        assert "default-src 'none'; script-src 'self'" in headers and "nosniff" in headers
        assert "no-referrer" in headers and "server:" not in headers.lower()
        assert not re.search("secret(first|second)", headers + body)


def test_choices_that_are_none_are_not_saved(served: Served) -> None:
    before = Votes.open(served.votes).all()
    some = dict.fromkeys(CRITERIA, "left")
    for choices in ({}, {**some, "honesty": ""}, {**some, "honesty": FIRST}):
        status, _, body = get(f"{served.links['anna']}1?lang=en", choices)
        assert status == 422 and "Nothing was saved" in body
    assert get(f"{served.links['anna']}1", {**some, "more": "x" * 5000})[0] == 413
    assert get(served.links["anna"].replace("/v/", "/v/x") + "1", some)[0] == 404
    assert Votes.open(served.votes).all() == before


def test_each_acknowledged_vote_survives_a_kill(tmp_path: Path) -> None:
    server = start(tmp_path, *write_answers(tmp_path, 400))
    acknowledged: list[tuple[str, int]] = []
    enough = threading.Event()

    def vote(voter: str, start: int) -> None:
        for place in range(start, 401, 2):
            try:
                get(f"{server.links[voter]}{place}", dict.fromkeys(CRITERIA, "tie"))
            except OSError:
                return
            acknowledged.append((voter, place))
            if len(acknowledged) >= 40:
                enough.set()

    with ThreadPoolExecutor() as voters:
        for voter in ("anna", "bo"):
            for first in (1, 2):
                voters.submit(vote, voter, first)
        assert enough.wait(60)
        server.process.kill()
    server.process.wait()
    again = start(tmp_path)
    try:
        assert again.links.keys() == server.links.keys()
        for voter, place in acknowledged:
            body = get(f"{again.links[voter]}{place}?lang=en")[2]
            assert body.count("checked") == len(CRITERIA), (voter, place)
    finally:
        again.process.kill()
        again.process.wait()
    counting = Votes.open(server.votes).counting()
    # Three at a time, all or none, those that were on their way included.
    assert len(counting) % 3 == 0 and len(counting) >= 3 * len(acknowledged)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # --no-sandbox: root, as in containers of CI, has no other way.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def open_page(browser: Any, address: str, asked: list[str], language: str = "en-GB") -> Any:
    page = browser.new_context(locale=language).new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    return page


def test_hostile_answers_do_nothing_and_can_be_read(browser: Any, served: Served) -> None:
    asked: list[str] = []
    page = open_page(browser, served.links["anna"], asked)
    seen = ""
    for place in range(1, len(HOSTILE) + 1):
        page.goto(f"{served.links['anna']}{place}")
        assert page.evaluate("window.pwned") is None
        assert (
            page.locator(".answer :is(script, img, svg, iframe, a, style, base), .asked b").count()
            == 0
        )
        seen += page.locator("main").inner_text()
        assert not re.search("secret(first|second)", page.content() + page.url)
    for words in (
        "<script>window.pwned = 1</script> after", "<img src=x onerror=", "<svg onload=",
        "[click](javascript:window.pwned=1)", "![remote](http://evil.example/p.png)",
        "</code></pre><script>", "<base href=", "人工智能", "问题 5: <b>why?</b>",
    ):  # fmt: skip
        assert words in seen
    root = served.links["anna"].split("/v/")[0]
    assert asked and all(address.startswith(root) for address in asked)
    page.context.close()


def test_two_voters_at_once_with_keys_and_a_reload(browser: Any, served: Served) -> None:
    anna, bo = (
        open_page(browser, served.links[voter], [], language)
        for voter, language in (("anna", "en-GB"), ("bo", "zh-CN"))
    )
    assert "Which answer is better?" in anna.title() and "哪个回答更好" in bo.title()
    orders: dict[str, list[tuple[str, bool]]] = {"anna": [], "bo": []}
    for n in range(len(HOSTILE)):
        for voter, page in (("anna", anna), ("bo", bo)):
            question = page.locator(".asked").inner_text()
            chinese_left = "人工智能" in page.locator(".left .answer").inner_text()
            orders[voter].append((question, chinese_left))
            # Helpfulness to the second model, whose answers are Chinese; a tie; A.
            page.keyboard.press("1" if chinese_left else "3")
            page.keyboard.press("2")
            page.keyboard.press("1")
            with page.expect_navigation():
                page.keyboard.press("Enter")
            if n == 2:  # in the middle: who opens the link again goes on
                place = page.url
                page.reload()
                page.goto(served.links[voter])
                assert page.url.split("?")[0] == place.split("?")[0]
                assert f"/{n + 2}?" in page.url
    assert sorted(q for q, _ in orders["anna"]) == sorted(q for q, _ in orders["bo"])
    assert orders["anna"] != orders["bo"] and dict(orders["anna"]) != dict(orders["bo"])
    assert "all questions" in anna.locator("[role=status]").inner_text()
    counting = Votes.open(served.votes).counting()
    assert len(counting) == 2 * 3 * len(HOSTILE)
    said = {(vote.criterion, vote.choice) for vote in counting if vote.criterion != "harmlessness"}
    assert said == {("helpfulness", SECOND), ("honesty", "tie")}
    assert all(v.choice == v.left for v in counting if v.criterion == "harmlessness")
    anna.context.close()
    bo.context.close()


def test_a_vote_is_changed_by_mouse_and_the_language_by_a_link(
    browser: Any, served: Served
) -> None:
    page = open_page(browser, f"{served.links['anna']}1", [])
    for criterion in CRITERIA:
        page.locator(f"input[name={criterion}][value=tie] + span").click()
    with page.expect_navigation():
        page.locator("button").click()
    page.goto(f"{served.links['anna']}1")
    assert page.locator("input[value=tie]:checked").count() == 3
    page.get_by_role("link", name="中文").click()
    page.wait_for_url("**lang=zh")
    assert "有用性" in page.locator("form").inner_text()
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.context.close()


def test_votes_are_exported_and_reported_while_the_page_is_served(tmp_path: Path) -> None:
    server = start(tmp_path, *write_answers(tmp_path, 3))
    try:
        for link in server.links.values():
            for place in (1, 2, 3):
                get(f"{link}{place}", {**dict.fromkeys(CRITERIA, "left"), "honesty": "tie"})
            get(f"{link}1", dict.fromkeys(CRITERIA, "right"))  # changes the first
        votes, lines, output = (tmp_path / n for n in ("votes.sqlite", "all.jsonl", "human.json"))
        told = [f"votes={votes}", f"file={lines}", f"output={output}"]
        assert main(["metric=human", "action=export", *told]) == 0
        assert main(["metric=human", "action=report", *told]) == 0
    finally:
        server.process.terminate()
        assert server.process.wait(30) == 0
    assert len(lines.read_text("utf-8").splitlines()) == 2 * 4 * 3
    found = json.loads(output.read_text("utf-8"))
    assert (found["questions_asked"], found["votes_cast"]) == (3, 24)
    honesty, harmlessness = (found["criteria"][name] for name in ("honesty", "harmlessness"))
    assert honesty["votes"] == 6 and honesty["counts"]["tie"] == 4
    assert harmlessness["left_of_decided"] == {"left": 4, "decided": 6}
