"""How programs end: one code for each way, one line for the user, and no mixing of runs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llama_gpt4.errors import ExitCode, InputError, Preempted
from llama_gpt4.program import ExitReport, StopRequest, hold, run_program


def ends(run_dir: Path, action: Callable[[], object]) -> tuple[int, dict[str, object]]:
    """The exit code of a program that does `action`, and its exit.json."""
    (run_dir / "exit.json").unlink(missing_ok=True)

    def main(report: ExitReport) -> None:
        report.run_dir = run_dir
        action()

    code = run_program("test", main)
    return code, json.loads((run_dir / "exit.json").read_text())


def fail(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    "action, code, message",
    [
        (lambda: None, 0, "done"),
        (fail(InputError("x.json does not exist")), 2, "x.json does not exist"),
        (fail(Preempted("saved step 3")), 75, "saved step 3"),
        (fail(KeyboardInterrupt()), 1, "interrupted"),
        (fail(ZeroDivisionError("by zero")), 1, "ZeroDivisionError: by zero"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 75, "asked to stop"),
        (lambda: os.kill(os.getpid(), signal.SIGUSR1), 75, "asked to stop"),
        (lambda: os.kill(os.getpid(), signal.SIGINT), 1, "interrupted"),
    ],
)
def test_each_end_has_its_code(
    action: Callable[[], None],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended, report = ends(tmp_path, action)
    assert (ended, report["code"]) == (code, code)
    assert str(report["message"]).startswith(message)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (code != 0) or "Traceback" in lines[0]
    assert not lines or lines[-1].startswith(f"llama-gpt4 test: {message}")


def test_only_a_bug_shows_its_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends(tmp_path, fail(InputError("short")))
    assert "Traceback" not in capsys.readouterr().err
    ends(tmp_path, fail(ZeroDivisionError()))
    assert "Traceback" in capsys.readouterr().err


def test_only_the_first_reports(tmp_path: Path) -> None:
    first, second = ExitReport(), ExitReport()
    first.run_dir = second.run_dir = tmp_path
    assert first.write(ExitCode.BAD_INPUT, "the cause")
    assert not second.write(ExitCode.BUG, "a consequence")
    assert json.loads((tmp_path / "exit.json").read_text())["message"] == "the cause"


def test_other_ranks_do_not_speak_for_a_run_that_has_no_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ExitReport().write(ExitCode.BAD_INPUT, "a wrong key")
    monkeypatch.delenv("LOCAL_RANK", raising=False)  # left by whoever joined a world of one here
    monkeypatch.setenv("RANK", "1")
    assert not ExitReport().write(ExitCode.BAD_INPUT, "a wrong key")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert ExitReport().write(ExitCode.BAD_INPUT, "a file that another host has")


def test_a_bug_of_another_rank_before_there_is_a_log_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)  # left by whoever joined a world of one here
    monkeypatch.setenv("RANK", "1")
    run_program("test", lambda report: fail(ZeroDivisionError("by zero"))())
    assert "llama-gpt4 test: ZeroDivisionError: by zero" in capsys.readouterr().err
    run_program("test", lambda report: fail(InputError("what all find alike"))())
    assert capsys.readouterr().err == ""


def test_a_stop_request_is_remembered_from_when_it_exists(tmp_path: Path) -> None:
    def action() -> None:
        stop = StopRequest()
        assert not stop.received
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received

    assert ends(tmp_path, action)[0] == 0


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    ends(tmp_path, StopRequest)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_directory_is_held_until_its_holder_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from llama_gpt4.program import hold; "
        "hold(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout and holder.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match="in use by a run that has not ended"):
        hold(tmp_path / "run")
    holder.kill()
    holder.communicate()
    os.close(hold(tmp_path / "run"))


def test_a_directory_that_cannot_be_written_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        hold(tmp_path / "file" / "run")
