"""`llama-gpt4 reward`: the training of a reward model on the processes of this host."""

from collections.abc import Sequence

from llama_gpt4_launch import local


def main(argv: Sequence[str]) -> int:
    return local.start("reward", argv)
