"""What was paid for stays: through kills, other processes, full disks."""

import os
import resource
from pathlib import Path

import pytest
from llama_gpt4_data.journal import Journal

from llama_gpt4.errors import InputError

from .endpoints import reply, request


def test_a_reply_is_there_for_every_later_start(tmp_path: Path) -> None:
    first, second = request("a"), request("b")
    journal = Journal(tmp_path)
    journal.append(reply(first, "Ja.\n«½» 是的 \ud83d"))
    assert journal.reply(first.key) == reply(first, "Ja.\n«½» 是的 \ud83d")
    assert first.key in journal and second.key not in journal
    journal.close()
    assert Journal(tmp_path).reply(first.key) == reply(first, "Ja.\n«½» 是的 \ud83d")
    assert Journal(tmp_path).reply(second.key) is None


def test_every_process_has_a_file_of_its_own(tmp_path: Path) -> None:
    journals = [Journal(tmp_path) for _ in range(3)]
    for number, journal in enumerate(journals):
        journal.append(reply(request(str(number))))
    assert len(list(tmp_path.glob("*.jsonl"))) == 3
    assert len(Journal(tmp_path)) == 3


def test_a_kill_costs_what_was_being_written_and_nothing_else(tmp_path: Path) -> None:
    asked = [request(str(number)) for number in range(5)]
    journal = Journal(tmp_path)
    for each in asked:
        journal.append(reply(each))
    [path] = tmp_path.glob("*.jsonl")
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:cut])
        assert len(Journal(tmp_path)) == sum(end <= cut for end in ends)


def test_nothing_is_written_before_there_is_something(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new")
    journal.sync()
    journal.close()
    assert not (tmp_path / "new").exists()


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text('{"instruction": "a"}\n')
    with pytest.raises(InputError, match=r"notes\.jsonl line 1 is no reply"):
        Journal(tmp_path)


def test_a_full_disk_is_one_line_and_what_was_kept_is_whole(tmp_path: Path) -> None:
    asked = [request(str(number)) for number in range(50)]
    child = os.fork()
    if child == 0:
        # The kernel refuses what would make the file longer, as it refuses on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        journal = Journal(tmp_path)
        try:
            for each in asked:
                journal.append(reply(each))
        except InputError as error:
            told = "go on" in str(error) or "goes on" in str(error)
            os._exit(7 if told and "\n" not in str(error) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    kept = Journal(tmp_path)
    assert 0 < len(kept) < 50
    assert all(kept.reply(each.key) == reply(each) for each in asked[: len(kept)])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"journal_dir: .*file/replies cannot be written"):
        Journal(tmp_path / "file" / "replies").append(reply(request()))
