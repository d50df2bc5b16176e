"""The votes of a study in one SQLite file, with the questions and answers that are voted on.

A vote is acknowledged once it is on disk: in WAL mode with `synchronous=FULL`, a commit returns
after fsync, so neither `kill -9` nor a power cut takes it back. Votes are only ever added; of those
of one voter on one criterion of one question, the last counts.
"""

import contextlib
import json
import os
import secrets
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError

FORMAT = 1
"""SQLite's `user_version` of the tables below."""
BUSY_SECONDS = 30
"""How long one who writes waits for another."""
_TABLES = """
CREATE TABLE study (first TEXT NOT NULL, second TEXT NOT NULL, seed INTEGER);
CREATE TABLE items (
  question_id TEXT PRIMARY KEY, question TEXT NOT NULL, first TEXT NOT NULL, second TEXT NOT NULL
);
CREATE TABLE voters (voter TEXT PRIMARY KEY, secret TEXT NOT NULL UNIQUE);
CREATE TABLE votes (
  vote_id TEXT PRIMARY KEY, question_id TEXT NOT NULL, voter TEXT NOT NULL,
  criterion TEXT NOT NULL, choice TEXT NOT NULL, "left" TEXT, time TEXT NOT NULL
);
CREATE INDEX votes_of_voter ON votes (voter, question_id);
"""
# Not among the tables above, so that studies of before, which lack it, can go on.
_MADE_OF = "CREATE TABLE IF NOT EXISTS made_of (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
# Of equal times, what was added last.
_COUNTING = """
SELECT vote_id, question_id, voter, criterion, choice, "left", time FROM (
  SELECT *, rowid AS place, row_number() OVER (
    PARTITION BY voter, question_id, criterion ORDER BY time DESC, rowid DESC
  ) AS age FROM votes {where}
) WHERE age = 1 ORDER BY place
"""


@dataclass(frozen=True)
class Study:
    """Whose answers are compared."""

    first: str
    second: str
    seed: int | None
    """Of the shuffling; None where votes were only imported."""


@dataclass(frozen=True)
class Item:
    """A question with the answer of each model."""

    question_id: str
    question: str
    first: str
    second: str


@dataclass(frozen=True)
class Vote:
    """What one voter said on one criterion of one question."""

    vote_id: str
    """The same wherever the vote is copied to."""
    question_id: str
    voter: str
    criterion: str
    choice: str
    """A model's name, or `tie`."""
    left: str | None
    """The model whose answer was on the left; None where that is not known."""
    time: str
    """ISO 8601, UTC."""


VOTE_KEYS = tuple(field.name for field in fields(Vote))


class Votes:
    """The file. Each call has a connection of its own: threads and processes may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(
        cls, path: Path, study: Study, items: Sequence[Item], made_of: Mapping[str, Any]
    ) -> "Votes":
        """A new file without votes, `made_of` files that are named there. Its links are secrets:
        nobody else may read it."""
        votes = cls(path)
        aside = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.unlink(missing_ok=True)
            os.close(os.open(aside, os.O_CREAT | os.O_EXCL, 0o600))
            with cls(aside)._open() as database:
                # Stays in the file; said here alone, since it would change a file of others.
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_TABLES)
                database.execute("INSERT INTO study VALUES (?, ?, ?)", astuple(study))
                database.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", map(astuple, items))
                database.execute(_MADE_OF)
                database.executemany(
                    "INSERT INTO made_of VALUES (?, ?)",
                    [(key, json.dumps(value)) for key, value in made_of.items()],
                )
                database.execute(f"PRAGMA user_version = {FORMAT}")
            aside.rename(path)
        except OSError as error:
            raise InputError(f"votes={path} cannot be written: {error.strerror}") from error
        return votes

    @classmethod
    def open(cls, path: Path) -> "Votes":
        if path.is_dir():
            raise InputError(f"votes={path} is a folder: name a file")
        if not path.is_file():
            raise InputError(
                f"votes={path} does not exist: action=serve makes it, with answers={{…}}"
            )
        votes = cls(path)
        try:
            with votes._open() as database:
                found = database.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise InputError(f"votes={path} is no file of votes: {error}") from error
        if found != FORMAT:
            raise InputError(f"votes={path} is no file of votes of this version: name another")
        return votes

    def study(self) -> Study:
        with self._open() as database:
            return Study(*database.execute("SELECT first, second, seed FROM study").fetchone())

    def made_of(self) -> dict[str, Any]:
        """Keys of the configuration that made the study; none where votes were only imported."""
        with self._open() as database:
            database.execute(_MADE_OF)
            return {
                key: json.loads(value)
                for key, value in database.execute("SELECT key, value FROM made_of")
            }

    def items(self) -> list[Item]:
        """In the order of the files that they come from."""
        with self._open() as database:
            return [Item(*row) for row in database.execute("SELECT * FROM items ORDER BY rowid")]

    def item(self, question_id: str) -> Item:
        with self._open() as database:
            found = database.execute("SELECT * FROM items WHERE question_id = ?", (question_id,))
            return Item(*found.fetchone())

    def add_voters(self, voters: Iterable[str]) -> None:
        """Give each new voter a secret that nobody can guess; the others keep theirs."""
        with self._open() as database:
            database.executemany(
                "INSERT OR IGNORE INTO voters VALUES (?, ?)",
                [(voter, secrets.token_urlsafe(16)) for voter in voters],
            )

    def voters(self) -> dict[str, str]:
        """The voter of each secret."""
        with self._open() as database:
            return dict(database.execute("SELECT secret, voter FROM voters ORDER BY rowid"))

    def cast(self, question_id: str, voter: str, choices: dict[str, str], left: str) -> None:
        """Add the choices of each criterion, all or none; they are on disk when this returns."""
        with self._open() as database:
            of_voter = "SELECT max(time) FROM votes WHERE voter = ? AND question_id = ?"
            before = database.execute(of_voter, (voter, question_id)).fetchone()[0]
        # The last vote counts, also after the clock of this machine was set back.
        time = max(datetime.now(UTC).isoformat(timespec="microseconds"), before or "")
        self.add(
            Vote(uuid.uuid4().hex, question_id, voter, criterion, choice, left, time)
            for criterion, choice in choices.items()
        )

    def add(self, votes: Iterable[Vote]) -> int:
        """Add the votes that are not there yet, all or none; how many those were."""
        votes = list(votes)
        with self._open() as database:
            for vote in votes:
                there = f"SELECT {_columns()} FROM votes WHERE vote_id = ?"
                for row in database.execute(there, (vote.vote_id,)):
                    if Vote(*row) != vote:
                        raise InputError(
                            f"the vote {vote.vote_id} is in {self.path} with other content: an id "
                            "is one vote's for ever"
                        )
            before = database.total_changes
            database.executemany(
                "INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?, ?, ?, ?)", map(astuple, votes)
            )
            return database.total_changes - before

    def all(self) -> list[Vote]:
        """Every vote that was ever cast, in the order of arrival."""
        with self._open() as database:
            rows = database.execute(f"SELECT {_columns()} FROM votes ORDER BY rowid")
            return [Vote(*row) for row in rows]

    def counting(self, voter: str | None = None) -> list[Vote]:
        """The votes that count, of all voters or one."""
        where, values = ("", ()) if voter is None else ("WHERE voter = ?", (voter,))
        with self._open() as database:
            rows = database.execute(_COUNTING.format(where=where), values)
            return [Vote(*row) for row in rows]

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
        try:
            database.execute("PRAGMA synchronous = FULL")
            with database:  # commits, or takes all back
                yield database
        finally:
            database.close()


def _columns() -> str:
    return ", ".join(f'"{key}"' for key in VOTE_KEYS)
