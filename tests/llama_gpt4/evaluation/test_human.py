"""`evaluate metric=human` without its page: studies, exports, imports, the report."""

import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.compose import compose
from llama_gpt4.evaluate import main
from llama_gpt4.evaluation.human import HumanConfig, _study_of
from llama_gpt4.evaluation.votes import VOTE_KEYS, Item, Votes

FIGURE_3 = {
    "alpaca": {
        "helpfulness": ((381, 139, 184), (54.12, 19.74, 26.14)),
        "honesty": ((183, 221, 300), (25.99, 31.39, 42.61)),
        "harmlessness": ((116, 179, 409), (16.48, 25.43, 58.10)),
    },
    "gpt4": {
        "helpfulness": ((323, 333, 99), (42.78, 44.11, 13.11)),
        "honesty": ((286, 283, 186), (37.88, 37.48, 24.64)),
        "harmlessness": ((239, 267, 249), (31.66, 35.36, 32.98)),
    },
}
"""Votes for LLaMA-GPT4, its opponent, and neither, with the printed percentages: SPEC 5.2."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def evaluate(action: str, *more: str) -> int:
    return main(["metric=human", f"action={action}", *more])


def write_lines(name: str, lines: Any) -> None:
    Path(name).write_text("\n".join(json.dumps(line) for line in lines), "utf-8")


def votes_of(opponent: str) -> Iterator[dict[str, str]]:
    """The published counts as votes of three voters on the 252 questions."""
    for criterion, (counts, _) in FIGURE_3[opponent].items():
        choices = chain.from_iterable(map(repeat, ("llama_gpt4", opponent, "tie"), counts))
        for n, choice in enumerate(choices):
            values = (f"{criterion}-{n}", str(n % 252), f"voter-{n // 252}", criterion, choice)
            vote = dict(zip(VOTE_KEYS, (*values, "", "2023-04-06"), strict=True))
            yield {**vote, "first": "llama_gpt4", "second": opponent}


@pytest.mark.parametrize("opponent", FIGURE_3)
def test_the_papers_votes_give_its_percentages(
    opponent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """SPEC 8 row 8."""
    write_lines("votes.jsonl", votes_of(opponent))
    assert evaluate("import") == 0 and evaluate("report") == 0
    shown = capsys.readouterr().out
    found = json.loads(Path("human.json").read_text("utf-8"))
    assert found["models"] == {"first": "llama_gpt4", "second": opponent}
    for criterion, (counts, percentages) in FIGURE_3[opponent].items():
        of_criterion = found["criteria"][criterion]
        assert tuple(of_criterion["counts"].values()) == counts
        shares = of_criterion["shares"].values()
        assert tuple(round(100 * share["share"], 2) for share in shares) == percentages
        line = next(line for line in shown.splitlines() if line.startswith(criterion))
        assert all(f" {percentage:.2f} (" in line for percentage in percentages)


def test_the_counts_are_those_of_the_published_figure() -> None:
    if "LLAMA_GPT4_REAL_DATA" not in os.environ:
        pytest.skip("LLAMA_GPT4_REAL_DATA is not set")
    figures = Path(os.environ["LLAMA_GPT4_REAL_DATA"]) / "paper_figures.json"
    published = json.loads(figures.read_text("utf-8"))["fig3_votes"]
    for letter, opponent in (("a", "alpaca"), ("b", "gpt4")):
        for criterion, (counts, _) in FIGURE_3[opponent].items():
            found = published[f"{letter}_llama_gpt4_vs_{opponent}"][criterion.capitalize()]
            assert counts == (found["llama_gpt4"], found[opponent], found["tie"])


def test_imports_merge(capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(votes_of("gpt4"))
    write_lines("votes.jsonl", lines[:10])
    write_lines("more.jsonl", lines[5:20])
    assert evaluate("import") == 0 and evaluate("import", "file=more.jsonl") == 0
    assert "10 of 15 votes were new" in capsys.readouterr().out
    assert evaluate("export", "file=all.csv") == 0
    assert evaluate("import", "file=all.csv", "votes=copy.sqlite") == 0
    assert Votes.open(Path("copy.sqlite")).all() == Votes.open(Path("votes.sqlite")).all()


def answers(name: str, ids: Any = (1, 2, 3), **more: str) -> None:
    records = [{"question_id": n, "text": f"{name} {n}", "answer_id": n, **more} for n in ids]
    write_lines(name, records)


def study(*more: str) -> Votes:
    overrides = ["action=serve", "answers={tuned: a.jsonl, base: b.jsonl}", *more]
    return _study_of(compose(HumanConfig, "evaluate/human", overrides))


def test_answers_of_fastchat_are_joined_by_id_with_their_questions() -> None:
    answers("a.jsonl", (1, 2))
    answers("b.jsonl", (2, 1))
    write_lines("q.jsonl", [{"question_id": n, "text": f"Why {n}?"} for n in (1, 2, 3)])
    items = study("questions=q.jsonl").items()
    assert items == [
        Item("1", "Why 1?", "a.jsonl 1", "b.jsonl 1"),
        Item("2", "Why 2?", "a.jsonl 2", "b.jsonl 2"),
    ]


def test_a_report_names_the_answers_of_its_study() -> None:
    answers("a.jsonl", question="Why?")
    answers("b.jsonl", question="Why?")
    study("missing=drop").cast("1", "anna", {"honesty": "tie"}, "base")
    assert evaluate("report") == 0
    settings = json.loads(Path("human.json").read_text("utf-8"))["settings"]
    assert settings["answers"] == {"tuned": "a.jsonl", "base": "b.jsonl"}
    assert (settings["missing"], settings["questions"]) == ("drop", None)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert evaluate(*arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


SERVE = ("serve", "answers={tuned: a.jsonl, base: b.jsonl}", "voters=[anna]", "port=0")


def test_what_cannot_be_served_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    answers("a.jsonl")
    answers("b.jsonl")
    assert "questions=" in refused(capsys, *SERVE)
    assert not list(Path().glob("*.sqlite*"))
    answers("a.jsonl", question="Why?")
    answers("b.jsonl", (1, 2), question="Why?")
    assert "has no answer to 1 question (3)" in refused(capsys, *SERVE)
    answers("b.jsonl", question="How?")
    assert "is not aligned" in refused(capsys, *SERVE)
    answers("b.jsonl", question="Why?")
    assert "voters is empty" in refused(capsys, *SERVE[:2])
    assert "two are compared" in refused(capsys, "serve", "answers={tuned: a.jsonl}")
    assert "another seed" in refused(capsys, *SERVE, "seed=1")
    assert "cannot be served" in refused(capsys, *SERVE, "host=192.0.2.1")
    assert "action" in refused(capsys, "count")


@pytest.mark.parametrize("package", ["krippendorff", "starlette", "markdown_it", "uvicorn"])
def test_a_package_that_is_missing_is_one_line(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in sys.modules if n.startswith(("llama_gpt4.evaluation.vote_s", package))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "llama_gpt4.evaluation.untrusted_text", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    write_lines("votes.jsonl", votes_of("gpt4"))
    assert evaluate("import") == 0
    line = refused(capsys, "report" if package == "krippendorff" else "serve")
    assert f"the package {package}" in line and "pip install 'llama-gpt4[votes]'" in line


def test_what_cannot_be_reported_or_imported_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "does not exist" in refused(capsys, "report")
    write_lines("votes.jsonl", list(votes_of("gpt4"))[:3])
    assert evaluate("import") == 0
    assert "imported votes alone" in refused(capsys, "serve", "voters=[anna]")
    assert "is read as well" in refused(capsys, "report", "output=votes.sqlite")
    with contextlib.closing(sqlite3.connect("votes.sqlite")) as database:
        database.execute("DROP TABLE votes")
    assert "votes=votes.sqlite: no such table" in refused(capsys, "export", "file=all.csv")
    Path("votes.sqlite").unlink()
    assert evaluate("import") == 0
    write_lines("other.jsonl", list(votes_of("alpaca"))[:3])
    assert "name another votes" in refused(capsys, "import", "file=other.jsonl")
    answers("a.jsonl", question="Why?")
    answers("b.jsonl", question="Why?")
    study("votes=new.sqlite")
    assert "holds no vote yet" in refused(capsys, "report", "votes=new.sqlite")
    vote = {**next(votes_of("gpt4")), "first": "base", "second": "tuned", "choice": "tie"}
    write_lines("votes.jsonl", [{**vote, "question_id": "strange"}])
    assert "no question of" in refused(capsys, "import", "votes=new.sqlite")
