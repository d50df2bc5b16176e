"""The file of votes."""

import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.votes import Item, Study, Vote, Votes

STUDY = Study("tuned", "base", 0)
MADE_OF = {"answers": {"tuned": "a.jsonl"}, "questions": None}
ITEMS = [Item("q1", "Why?", "a", "b"), Item("q0", "怎么？", "c", "d")]


@pytest.fixture
def votes(tmp_path: Path) -> Votes:
    return Votes.create(tmp_path / "votes.sqlite", STUDY, ITEMS, MADE_OF)


def test_a_study_is_in_its_file(votes: Votes) -> None:
    again = Votes.open(votes.path)
    assert (again.study(), again.items(), again.all()) == (STUDY, ITEMS, [])
    assert again.made_of() == MADE_OF


def test_a_study_of_before_does_not_say_what_it_is_made_of(votes: Votes) -> None:
    with votes._open() as database:
        database.execute("DROP TABLE made_of")
    assert Votes.open(votes.path).made_of() == {}


def test_only_its_owner_can_read_the_links(votes: Votes) -> None:
    assert stat.S_IMODE(votes.path.stat().st_mode) == 0o600
    votes.cast("q0", "anna", {"honesty": "tie"}, "base")
    assert [path.name for path in votes.path.parent.iterdir()] == ["votes.sqlite"]


def test_a_commit_waits_for_the_disk(votes: Votes) -> None:
    """What a power cut would show and a kill cannot."""
    with votes._open() as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_voter_keeps_the_link_and_nobody_can_guess_it(votes: Votes) -> None:
    votes.add_voters(["anna"])
    before = votes.voters()
    votes.add_voters(["anna", "bo"])
    after = votes.voters()
    assert list(after.values()) == ["anna", "bo"] and before.items() <= after.items()
    assert all(len(secret) >= 22 for secret in after)  # 128 bits


def test_the_last_vote_counts_and_the_others_are_kept(votes: Votes) -> None:
    votes.cast("q0", "anna", {"honesty": "tuned", "helpfulness": "tie"}, "base")
    votes.cast("q0", "bo", {"honesty": "base"}, "tuned")
    votes.cast("q0", "anna", {"honesty": "base"}, "base")
    assert len(votes.all()) == 4
    found = {(vote.voter, vote.criterion): vote.choice for vote in votes.counting()}
    assert found == {
        ("anna", "honesty"): "base", ("anna", "helpfulness"): "tie", ("bo", "honesty"): "base"
    }  # fmt: skip
    assert {vote.voter for vote in votes.counting("bo")} == {"bo"}


def test_what_is_there_is_not_added_again_and_the_later_time_counts(votes: Votes) -> None:
    old = Vote("1", "q0", "anna", "honesty", "tie", None, "2023-01-01T00:00:00+00:00")
    new = Vote("2", "q0", "anna", "honesty", "base", None, "2023-01-02T00:00:00+00:00")
    assert votes.add([new, old]) == 2
    assert votes.add([new, old]) == 0
    assert votes.counting() == [new]


def test_a_changed_vote_counts_although_the_clock_was_set_back(votes: Votes) -> None:
    votes.add([Vote("1", "q0", "anna", "honesty", "tie", None, "2999-01-01T00:00:00+00:00")])
    votes.cast("q0", "anna", {"honesty": "base"}, "base")
    assert [vote.choice for vote in votes.counting()] == ["base"]


def test_what_is_no_file_of_votes_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database" * 100)
    (tmp_path / "empty").touch()
    with sqlite3.connect(tmp_path / "other") as database:
        database.execute("CREATE TABLE diary (entry TEXT)")
    database.close()
    (tmp_path / "folder").mkdir()
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    for name, words in (
        ("none", "does not exist"), ("text", "is no file of votes"), ("folder", "is a folder"),
        ("empty", "of this version"), ("other", "of this version"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            Votes.open(tmp_path / name)
    assert {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_votes_can_be_read_while_others_vote(votes: Votes) -> None:
    with sqlite3.connect(votes.path) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_an_id_is_one_votes_for_ever(votes: Votes) -> None:
    vote = Vote("1", "q0", "anna", "honesty", "tie", None, "2023-01-01T00:00:00.000000+00:00")
    assert (votes.add([vote]), votes.add([vote])) == (1, 0)
    with pytest.raises(InputError, match=r"the vote 1 is in .* with other content"):
        votes.add([replace(vote, choice="tuned")])
    assert votes.all() == [vote]
