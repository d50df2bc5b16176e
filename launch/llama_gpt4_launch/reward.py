"""`llama-gpt4 reward`: the training of a reward model on the processes of this host."""

import sys
from collections.abc import Sequence

from llama_gpt4.errors import ExitCode
from llama_gpt4_launch import local


def main(argv: Sequence[str]) -> int:
    if "-m" in argv or "--multirun" in argv:
        print("llama-gpt4 reward: -m sweeps `llama-gpt4 train` only", file=sys.stderr)
        return ExitCode.BAD_INPUT
    return local.start("reward", argv)
