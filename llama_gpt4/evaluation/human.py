"""`llama-gpt4 evaluate metric=human`: people vote on pairs of answers without knowing whose they
are, as for the paper's Figure 3."""

import contextlib
import socket
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llama_gpt4 import statistics
from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError, Preempted, require, require_one_of
from llama_gpt4.evaluation.ballot import CRITERIA, TIE
from llama_gpt4.evaluation.references import read_joined
from llama_gpt4.evaluation.results import require_apart
from llama_gpt4.evaluation.vote_files import read_votes, write_votes
from llama_gpt4.evaluation.vote_statistics import summary
from llama_gpt4.evaluation.votes import Item, Study, Votes
from llama_gpt4.files import write_json
from llama_gpt4.help import wants_help
from llama_gpt4.program import ExitReport, run_program
from llama_gpt4.questions import read_questions

PROGRAM = "evaluate/human"
MADE_OF = ("answers", "questions", "missing")
"""What a study remembers of the configuration that made it, for its report."""


@dataclass(kw_only=True)
class HumanConfig:
    """A study: two models, questions, voters, and what becomes of the votes."""

    action: str
    """`serve` the page for votes, `export` or `import` a file of votes, or `report` what they say.
    All but `serve` also work while the page is served."""
    votes: str
    """The SQLite file of the study, with the answers and the votes. It also holds the voters'
    links: whoever can read it can vote."""
    answers: dict[str, str]
    """For `serve`: the answers of two models, such as {tuned: a.jsonl, base: b.jsonl}, joined by id
    (of several to a question, the first). Not needed again once `votes` is there."""
    questions: str | None
    """For `serve`: a file of the questions, where the files of answers do not hold them."""
    missing: str
    """A question that only one of the files has: refuse them with an `error`, or `drop` it."""
    voters: list[str]
    """For `serve`: names of voters to add, each of whom gets a link. A name stands in exports."""
    seed: int
    """For `serve`: decides the order of the questions and the sides of the answers, for each voter
    differently."""
    host: str
    """Where the page is served: 127.0.0.1 is this machine alone, 0.0.0.0 every network."""
    port: int
    """Likewise; 0 is any that is free."""
    file: str
    """What `export` writes and `import` reads: JSONL, or CSV if it ends in .csv."""
    output: str
    """The file of results of `report`."""

    def __post_init__(self) -> None:
        require_one_of("action", self.action, tuple(ACTIONS))
        require_one_of("missing", self.missing, ("error", "drop"))
        require(
            len(self.answers) in (0, 2), f"answers has {len(self.answers)} models: two are compared"
        )
        require(TIE not in self.answers, f"answers.{TIE}: no model can have this name")
        require(all(map(str.strip, self.voters)), "voters has an empty name")
        require(0 <= self.port < 2**16, f"port={self.port} is not one of 0 to 65535")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if wants_help(PROGRAM, HumanConfig, arguments):
        return 0
    return run_program("evaluate", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Serve, export, import or report, as `action` says."""
    config = compose(HumanConfig, PROGRAM, arguments)
    try:
        ACTIONS[config.action](config)
    except ModuleNotFoundError as error:
        raise InputError(
            f"the package {error.name} is not installed: pip install 'llama-gpt4[votes]'"
        ) from None
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a bug
    except sqlite3.DatabaseError as error:  # a full or read-only disk, a damaged file
        raise InputError(f"votes={config.votes}: {error}") from error


def serve_page(config: HumanConfig) -> None:
    """Serve the page until a signal ends it; the links stand on the terminal."""
    from llama_gpt4.evaluation.vote_server import serve

    votes = _study_of(config)
    votes.add_voters(config.voters)
    voters = votes.voters()
    if not voters:
        raise InputError("voters is empty: name at least one, as in voters=[anna,bo]")
    with _listen(config.host, config.port) as listening:
        host = socket.gethostname() if config.host in ("0.0.0.0", "::") else config.host
        host = f"[{host}]" if ":" in host else host
        print(f"{len(votes.items()):,} questions; a link a voter, Ctrl-C stops:")
        for secret, voter in voters.items():
            print(f"{voter}  http://{host}:{listening.getsockname()[1]}/v/{secret}/", flush=True)
        # The usual end; whatever was voted is in the file.
        with contextlib.suppress(KeyboardInterrupt, Preempted):
            serve(votes, listening)
    print(f"stopped: {len(votes.counting()):,} votes in {config.votes}")


def export_votes(config: HumanConfig) -> None:
    """Write all votes, those that were changed later too."""
    require_apart(config.file, [config.votes], "file")
    votes = Votes.open(Path(config.votes))
    found = votes.all()
    write_votes(Path(config.file), votes.study(), found)
    print(f"{len(found):,} votes -> {config.file}")


def import_votes(config: HumanConfig) -> None:
    """Add the votes of a file that are not there yet; a study that does not exist begins so."""
    given, found = read_votes(config.file)
    path = Path(config.votes)
    votes = Votes.open(path) if path.exists() else Votes.create(path, given, [], {})
    study = votes.study()
    if {study.first, study.second} != {given.first, given.second}:
        raise InputError(
            f"file={config.file} compares {given.first} and {given.second}, votes={path} "
            f"{study.first} and {study.second}: name another votes"
        )
    known = {item.question_id for item in votes.items()}
    strange = [vote for vote in found if known and vote.question_id not in known]
    if strange:
        raise InputError(
            f"file={config.file} has votes on {strange[0].question_id}, which is no question of "
            f"votes={path}: name another votes"
        )
    print(f"{votes.add(found):,} of {len(found):,} votes were new -> {config.votes}")


def report_votes(config: HumanConfig) -> None:
    """Write what the votes say, and print it as a table."""
    require_apart(config.output, [config.votes])
    votes = Votes.open(Path(config.votes))
    study, counting = votes.study(), votes.counting()
    if not counting:
        raise InputError(f"votes={config.votes} holds no vote yet")
    criteria = {
        criterion: summary(study, those)
        for criterion in CRITERIA
        if (those := [vote for vote in counting if vote.criterion == criterion])
    }
    settings = {**asdict(config), **votes.made_of(), "seed": study.seed}
    counted = {"questions_asked": len(votes.items()) or None, "votes_cast": len(votes.all())}
    write_json(Path(config.output), _result(settings, study, counted, criteria))
    print("\n".join(table(study, criteria)))
    print(f"{len(counting):,} votes -> {config.output}")


ACTIONS = {
    "serve": serve_page,
    "export": export_votes,
    "import": import_votes,
    "report": report_votes,
}


def table(study: Study, criteria: dict[str, dict[str, Any]]) -> list[str]:
    """Lines of vote shares in percent, with intervals."""
    names = {"first": study.first, "second": study.second, TIE: TIE}
    width = max(24, *(len(name) + 1 for name in names.values()))
    head = "".join(f"{name:<{width}}" for name in names.values())
    lines = [f"{'criterion':<13}{'votes':>6}  {head}{'sign test p':<13}{'alpha':<8}majority"]
    for criterion, found in criteria.items():
        cells = "".join(f"{_percent(found['shares'][outcome]):<{width}}" for outcome in names)
        p, alpha = (
            "-" if value is None else f"{value:.2g}"
            for value in (found["sign_test_p"], found["alpha"])
        )
        won = ":".join(str(found["majority"][outcome]) for outcome in names)
        split = found["majority"]["split"]
        lines.append(
            f"{criterion:<13}{found['votes']:>6,}  {cells}{p:<13}{alpha:<8}{won}, {split} split"
        )
    return lines


def _percent(share: dict[str, float]) -> str:
    low, high = (f"{100 * share[end]:.1f}" for end in ("low", "high"))
    return f"{100 * share['share']:.2f} ({low} to {high})"


def _result(
    settings: dict[str, Any],
    study: Study,
    counted: dict[str, int | None],
    criteria: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """`counted` are the questions of the study, None where votes were only imported, and the votes
    that were ever cast, those that were changed later too."""
    return {
        "metric": "human",
        "settings": settings,
        "models": {"first": study.first, "second": study.second},
        "aggregation": "share of the votes; low and high by the bootstrap over questions",
        "sign_test": "two-sided, exact, over votes that are no ties, taken as independent",
        "alpha": "Krippendorff's, nominal",
        "resamples": statistics.RESAMPLES,
        "confidence": statistics.CONFIDENCE,
        **counted,
        "criteria": criteria,
    }


def _study_of(config: HumanConfig) -> Votes:
    """The study of `votes`, made of `answers` where it is not there yet."""
    path = Path(config.votes)
    if not config.answers:
        votes = Votes.open(path)
    else:
        first, second = config.answers
        require_apart(config.votes, config.answers.values(), "votes")
        study, items = Study(first, second, config.seed), _items(config)
        made_of = {key: getattr(config, key) for key in MADE_OF}
        votes = Votes.open(path) if path.exists() else Votes.create(path, study, items, made_of)
        if (votes.study(), votes.items()) != (study, items):
            raise InputError(
                f"votes={path} is a study of other answers, models or another seed: leave answers "
                "out to go on with it, or name another votes"
            )
    if not votes.items():
        raise InputError(f"votes={path} holds imported votes alone: name another to serve")
    return votes


def _items(config: HumanConfig) -> list[Item]:
    first, second = config.answers
    joined = read_joined(config.answers[first], config.answers, config.missing)
    asked = (
        {}
        if config.questions is None
        else {str(one.question_id): one.text for one in read_questions(config.questions)}
    )
    texts = [asked.get(id, given) for id, given in zip(joined.ids, joined.asked, strict=True)]
    unknown = [id for id, text in zip(joined.ids, texts, strict=True) if text is None]
    if unknown:
        raise InputError(
            f"answers say only the id of {len(unknown)} questions ({unknown[0]} is one): name a "
            "file that holds them with questions=…"
        )
    answers = zip(*(joined.answers[model] for model in (first, second)), strict=True)
    return [
        Item(id, text or "", a[0], b[0])
        for id, text, (a, b) in zip(joined.ids, texts, answers, strict=True)
    ]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"host={host} port={port} cannot be served ({error.strerror}): choose another"
        ) from error
