"""Votes in files that people exchange."""

import json
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.vote_files import read_votes, write_votes
from llama_gpt4.evaluation.votes import Study, Vote

STUDY = Study("tuned", "base", None)
VOTES = [
    Vote("1", "q0", "anna", "honesty", "tie", "base", "2023-01-01T00:00:00.000000+00:00"),
    Vote(
        "2", "问题, \"1\"\n", "bo", "helpfulness", "tuned", None,
        "2023-01-02T00:00:00.000000+00:00",
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", ["votes.jsonl", "votes.csv"])
def test_votes_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    write_votes(tmp_path / name, STUDY, VOTES)
    assert read_votes(str(tmp_path / name)) == (STUDY, VOTES)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"criterion": "beauty"}, "record 1: criterion is 'beauty', not one of helpfulness"),
        ({"choice": "left"}, "choice is 'left', not one of tuned, base, tie"),
        ({"left": "nobody"}, "left is 'nobody'"),
        ({"voter": None}, "no text under `voter`"),
        ({"voter": 7}, "no text under `voter`"),
        ({"time": "zzz"}, "time is 'zzz', not such as 2026"),
    ],
)
def test_what_is_no_vote_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "votes.jsonl"
    write_votes(path, STUDY, VOTES[:1])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=words):
        read_votes(str(path))


def test_a_file_holds_votes_on_one_pair(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    write_votes(path, STUDY, VOTES[:1])
    line = json.loads(path.read_text())
    path.write_text("\n".join(map(json.dumps, [line, {**line, "vote_id": "9", "first": "other"}])))
    with pytest.raises(InputError, match="the vote 9 compares other and base"):
        read_votes(str(path))


def test_an_empty_or_missing_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("vote_id\n")
    for name, words in (("votes.csv", "holds no vote"), ("none.csv", "does not exist")):
        with pytest.raises(InputError, match=words):
            read_votes(str(tmp_path / name))


def test_times_of_other_places_are_told_in_utc(tmp_path: Path) -> None:
    """The last vote counts, so 9 o'clock in Beijing is before 2 o'clock in London."""
    path = tmp_path / "votes.jsonl"
    write_votes(path, STUDY, VOTES[:1])
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"time": "2023-01-01T09:00:00+08:00"})
    )
    [vote] = read_votes(str(path))[1]
    assert vote.time == "2023-01-01T01:00:00.000000+00:00"


def test_a_table_that_is_none_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    write_votes(path, STUDY, VOTES[:1])
    path.write_text(path.read_text() + '"' + "x" * 140_000)
    with pytest.raises(InputError, match=r"votes\.csv line \d+ is no CSV"):
        read_votes(str(path))
