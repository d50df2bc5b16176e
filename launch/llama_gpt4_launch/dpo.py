"""`llama-gpt4 dpo`: preference training on the processes of this host."""

from collections.abc import Sequence

from llama_gpt4_launch import local


def main(argv: Sequence[str]) -> int:
    return local.start("dpo", argv)
