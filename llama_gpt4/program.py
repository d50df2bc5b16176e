"""How a program of ours starts and ends: signals, exit codes, one line for bad input."""

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from llama_gpt4.errors import ExitCode, InputError, Preempted

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Remembers that a signal asked the run to save and stop; the loop looks at it once a step."""

    def __init__(self) -> None:
        self.received = False
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def raise_if_received(self) -> None:
        """Before there is anything to save, stopping is all there is to do."""
        if self.received:
            raise Preempted("asked to stop before the first step")


class ExitReport:
    """`run_dir/exit.json`: how the run ended. Of all ranks, the first to write it also prints."""

    def __init__(self) -> None:
        self.run_dir: Path | None = None

    def write(self, code: ExitCode, message: str) -> bool:
        """Whether this process is the one to report the end: the first that fails, or rank 0."""
        is_rank_0 = os.environ.get("RANK", "0") == "0"
        if self.run_dir is None or (code is ExitCode.DONE and not is_rank_0):
            return is_rank_0
        report = json.dumps({"code": int(code), "message": message}, ensure_ascii=False)
        try:
            with open(self.run_dir / "exit.json", "x") as file:
                file.write(report + "\n")
        except FileExistsError:
            return False
        except OSError:
            return True
        return True


def run_program(name: str, main: Callable[[ExitReport], None]) -> int:
    """Run `main` and give its exit code; `main` names the run directory as soon as it has one."""
    report = ExitReport()
    trace = ""
    try:
        main(report)
        code, message = ExitCode.DONE, "done"
    except InputError as error:
        code, message = ExitCode.BAD_INPUT, f"{error}"
    except Preempted as error:
        code, message = ExitCode.PREEMPTED, f"{error}"
    except KeyboardInterrupt:
        code, message = ExitCode.BUG, "interrupted"
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.BUG
    except Exception as error:  # the one place where a bug meets the user: keep all of it
        code, message = ExitCode.BUG, f"{type(error).__name__}: {error}"
        trace = traceback.format_exc()
    first = report.write(code, message)
    if code is not ExitCode.DONE:
        logging.getLogger(name).info("ends with exit code %d: %s\n%s", code, message, trace)
        if first:
            sys.stderr.write(trace)
            print(f"llama-gpt4 {name}: {message}", file=sys.stderr, flush=True)
    return code
