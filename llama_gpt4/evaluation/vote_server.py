"""The web page for votes: a link a voter, an address a question, no names of models anywhere.

Who has a link may vote with it; there is nothing else to log in with, and no cookie that another
site could abuse. Answers are shown as `untrusted_text` makes them, below a policy that lets nothing
run or load but the two files of the page itself.
"""

import socket
from importlib import resources
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llama_gpt4.evaluation.ballot import CRITERIA, LEFT, SIDES, TIE, is_swapped, shuffled
from llama_gpt4.evaluation.untrusted_text import as_html
from llama_gpt4.evaluation.vote_texts import LANGUAGES, TEXTS, preferred_language
from llama_gpt4.evaluation.votes import Votes

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # The address is the voter's secret.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FORM_BYTES = 4096
"""A form with three choices is far shorter."""


def application(votes: Votes) -> Starlette:
    """The page on the votes of one file."""
    page = VotePage(votes)
    return Starlette(
        routes=[
            Route("/page/vote.css", _file("vote.css", "text/css")),
            Route("/page/vote.js", _file("vote.js", "text/javascript")),
            Route("/v/{secret}/", page.resume),
            Route("/v/{secret}/{place:int}", page.show, methods=["GET"]),
            Route("/v/{secret}/{place:int}", page.save, methods=["POST"]),
        ],
        middleware=[Middleware(SafeHeaders)],
    )


class VotePage:
    """What is asked for is looked up in the file each time; only the questions are kept."""

    def __init__(self, votes: Votes) -> None:
        study = votes.study()
        assert study.seed is not None
        self.votes, self.seed = votes, study.seed
        self.models = (study.first, study.second)
        self.items = {item.question_id: item for item in votes.items()}
        pages = Environment(loader=PackageLoader("llama_gpt4.evaluation", "vote_page"))
        pages.autoescape = True
        self.template = pages.get_template("vote.html.jinja")

    def resume(self, request: Request) -> Response:
        """On to the first question without a vote."""
        voter = self._voter(request)
        return self._unknown(request) if voter is None else self._first_open(request, voter)

    def show(self, request: Request) -> Response:
        return self._page(request, incomplete=False)

    async def save(self, request: Request) -> Response:
        """Store the three choices, and only then say so."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > FORM_BYTES:
                return Response(status_code=413)
        form = parse_qs(body.decode("ascii", "replace"))
        choices = {criterion: form.get(criterion, [""])[-1] for criterion in CRITERIA}
        return await run_in_threadpool(self._save, request, choices)

    def _save(self, request: Request, choices: dict[str, str]) -> Response:
        voter = self._voter(request)
        id = None if voter is None else self._question_id(request, voter)
        if voter is None or id is None:
            return self._unknown(request)
        if not set(choices.values()) <= set(SIDES):
            return self._page(request, incomplete=True)
        left, right = self._sides(voter, id)
        named = {LEFT: left, TIE: TIE}
        chosen = {criterion: named.get(side, right) for criterion, side in choices.items()}
        self.votes.cast(id, voter, chosen, left)
        return self._first_open(request, voter, after=request.path_params["place"])

    def _page(self, request: Request, incomplete: bool) -> Response:
        voter = self._voter(request)
        id = None if voter is None else self._question_id(request, voter)
        if voter is None or id is None:
            return self._unknown(request)
        item, order = self.items[id], shuffled(self.seed, voter, self.items)
        left, right = self._sides(voter, id)
        given = self._given(voter)
        answers = {self.models[0]: item.first, self.models[1]: item.second}
        sides = {left: "left", right: "right", TIE: TIE}
        ballot = {
            "place": request.path_params["place"],
            "total": len(order),
            "done": sum(len(given.get(each, ())) == len(CRITERIA) for each in order),
            "question": item.question,
            "left": Markup(as_html(answers[left])),
            "right": Markup(as_html(answers[right])),
            "chosen": {name: sides[choice] for name, choice in given.get(id, {}).items()},
        }
        return self._rendered(request, ballot, incomplete, 422 if incomplete else 200)

    def _first_open(self, request: Request, voter: str, after: int = 0) -> Response:
        """To the next question without a vote behind `after`, else from the start; without any, to
        the last."""
        order, given = shuffled(self.seed, voter, self.items), self._given(voter)
        places = [*range(after, len(order)), *range(after)]
        open = (n for n in places if len(given.get(order[n], ())) < len(CRITERIA))
        place = next(open, len(order) - 1) + 1
        address = f"/v/{request.path_params['secret']}/{place}?lang={_language(request)}"
        return RedirectResponse(address, status_code=303)

    def _given(self, voter: str) -> dict[str, dict[str, str]]:
        """The choices that count, by question and criterion."""
        given: dict[str, dict[str, str]] = {}
        for vote in self.votes.counting(voter):
            given.setdefault(vote.question_id, {})[vote.criterion] = vote.choice
        return given

    def _voter(self, request: Request) -> str | None:
        return self.votes.voters().get(request.path_params["secret"])

    def _question_id(self, request: Request, voter: str) -> str | None:
        order, place = shuffled(self.seed, voter, self.items), request.path_params["place"]
        return order[place - 1] if 0 < place <= len(order) else None

    def _sides(self, voter: str, question_id: str) -> tuple[str, str]:
        first, second = self.models
        return (second, first) if is_swapped(self.seed, voter, question_id) else (first, second)

    def _unknown(self, request: Request) -> Response:
        return self._rendered(request, None, False, 404)

    def _rendered(
        self, request: Request, ballot: dict[str, Any] | None, incomplete: bool, status: int
    ) -> Response:
        language = _language(request)
        html = self.template.render(
            ballot=ballot,
            incomplete=incomplete,
            criteria=CRITERIA,
            language=language,
            languages=LANGUAGES,
            text=TEXTS[language],
        )
        return HTMLResponse(html, status)


class SafeHeaders:
    """Adds `HEADERS` to every response, those of errors too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_safely)


def serve(votes: Votes, listening: socket.socket) -> None:
    """Serve until a signal asks to stop; requests that have begun are answered first."""
    config = uvicorn.Config(
        application(votes),
        # Addresses are secrets: no log of them, and none of what serves them.
        access_log=False,
        server_header=False,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _language(request: Request) -> str:
    accepted = request.headers.get("accept-language", "")
    return preferred_language(request.query_params.get("lang"), accepted)


def _file(name: str, kind: str) -> Any:
    content = resources.files("llama_gpt4.evaluation").joinpath("vote_page", name).read_bytes()

    def send(request: Request) -> Response:
        return Response(content, media_type=kind)

    return send
