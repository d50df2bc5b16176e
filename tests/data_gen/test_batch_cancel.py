"""`llama-gpt4 data batch-cancel`, and the end of a run that leads there."""

import json
import re
import signal
from pathlib import Path

import pytest
from llama_gpt4_data import answer, batch_cancel

from .batch_runs import hit_after, journal_lines
from .batch_server import BatchServer, running_batch_server


def answer_line(server: BatchServer, folder: Path, *more: str) -> list[str]:
    return [
        "files=[sample:en]",
        "limit=6",
        f"teacher.base_url={server.base_url}",
        f"run.output_dir={folder}/out",
        f"run.journal_dir={folder}/journal",
        "run.mode=batch",
        "run.batch.poll_seconds=0.01",
        *more,
    ]


def interrupt(server: BatchServer, folder: Path) -> None:
    """A run with two batches, ended by Ctrl-C while the service works on them."""
    line = answer_line(server, folder, "run.batch.most_requests=4")
    assert hit_after(server, "retrieve", 2, signal.SIGINT).run(lambda: answer.main(line)) == 75


def test_ctrl_c_says_how_to_go_on_and_how_to_end_the_batches(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running_batch_server(polls_in_progress=3) as server:
        child = hit_after(server, "retrieve", 2, signal.SIGINT)
        child.is_quiet = False
        assert child.run(lambda: answer.main(answer_line(server, tmp_path))) == 75
    printed = capfd.readouterr()
    assert "6 items: 0 records, 0 failed, 6 not answered yet" in printed.out
    last = printed.err.splitlines()[-1]
    assert last == (
        "llama-gpt4 data answer: batches under way: 1. They go on without this program; the same "
        "line takes in their answers, and `llama-gpt4 data batch-cancel "
        f"run.output_dir={tmp_path}/out` ends them"
    )


def test_the_batches_of_a_run_are_ended_and_what_they_answered_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_batch_server(polls_in_progress=3) as server:
        interrupt(server, tmp_path)
        assert batch_cancel.main([f"run.output_dir={tmp_path}/out"]) == 0
        said = "batches ended: 2; answers kept: 3; requests without one: 3\n"
        assert capsys.readouterr().out == said
        assert {b["status"] for b in server.service.batches.values()} == {"cancelled"}
        assert len(journal_lines(tmp_path)) == 3

        assert batch_cancel.main([f"run.output_dir={tmp_path}/out"]) == 0
        assert capsys.readouterr().out.startswith("batches ended: 0;")

        assert answer.main(answer_line(server, tmp_path)) == 0
        assert server.paid_twice == 0
    assert len(json.loads((tmp_path / "out" / "data.json").read_bytes())) == 6


def test_a_live_run_waits_for_the_end_of_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_batch_server(polls_in_progress=3) as server:
        interrupt(server, tmp_path)
        assert answer.main(answer_line(server, tmp_path, "run.mode=live")) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert re.search(r"run.mode=live, but .* under way: .* `llama-gpt4 data batch-cancel", line)


def test_a_key_that_the_service_does_not_know_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_batch_server(polls_in_progress=3) as server:
        interrupt(server, tmp_path)
        server.service.batches.clear()
        assert batch_cancel.main([f"run.output_dir={tmp_path}/out"]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert "does not cancel: 404: No such object" in line and "under way: 2;" in line


@pytest.mark.parametrize("folder, said", [("", "no batch was started"), ("/x", "does not exist")])
def test_a_folder_without_batches_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, said: str
) -> None:
    assert batch_cancel.main([f"run.output_dir={tmp_path}{folder}"]) == 2
    assert said in capsys.readouterr().err
