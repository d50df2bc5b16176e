"""One rank of a training on several hosts: `llama_gpt4.train` with eyes for the other hosts.

Launchers of every kind start this module, as `python -m llama_gpt4_launch.rank --resolved …`.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from llama_gpt4.compose import training_config
from llama_gpt4.program import ExitReport, end_at_once, run_program
from llama_gpt4_launch.watch import RankWatch


def main(argv: Sequence[str]) -> int:
    watches: list[RankWatch] = []
    code = run_program("train", lambda report: run(argv, report, watches))
    for watch in watches:
        watch.end()
    return code


def run(arguments: Sequence[str], report: ExitReport, watches: list[RankWatch]) -> None:
    config = training_config(arguments)
    watch = RankWatch(Path(config.run_dir), int(os.environ.get("RANK", "0")))
    watches.append(watch)
    watch.start()
    try:
        importlib.import_module("llama_gpt4.train").run(arguments, report)
    except RuntimeError:  # also what gloo and NCCL raise where another host broke off
        watch.name_the_lost()
        raise


if __name__ == "__main__":
    end_at_once(main(sys.argv[1:]))
