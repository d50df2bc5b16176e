"""One rank of a run on several hosts: the module of its program, with eyes for the other hosts.

Launchers of every kind start this module, as `python -m llama_gpt4_launch.rank --resolved …`.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from llama_gpt4.compose import run_config
from llama_gpt4.program import ExitReport, end_at_once, run_program
from llama_gpt4.programs import PROGRAMS
from llama_gpt4_launch.watch import RankWatch


def main(argv: Sequence[str]) -> int:
    watches: list[RankWatch] = []
    code = run_program("train", lambda report: run(argv, report, watches))
    for watch in watches:
        watch.end()
    return code


def run(arguments: Sequence[str], report: ExitReport, watches: list[RankWatch]) -> None:
    config = run_config("train", arguments)
    report.program = config.program
    watch = RankWatch(Path(config.run_dir), int(os.environ.get("RANK", "0")))
    watches.append(watch)
    watch.start()
    try:
        importlib.import_module(PROGRAMS[config.program].module).run(arguments, report)
    except RuntimeError:  # also what gloo and NCCL raise where another host broke off
        watch.name_the_lost()
        raise


if __name__ == "__main__":
    end_at_once(main(sys.argv[1:]))
