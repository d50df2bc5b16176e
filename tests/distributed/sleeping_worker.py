"""One process of a training of which one falls asleep: `sleeping_worker.py <rank> <arguments>`."""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from llama_gpt4 import train
from llama_gpt4.batches import Batches

SLEEPS_AT = 2
"""The step, from 0."""


def main(sleeper: str, *arguments: str) -> int:
    if os.environ["RANK"] == sleeper:
        micro_batches = Batches.micro_batches

        def fall_asleep(self: Batches, step: int) -> Iterator[Any]:
            if step == SLEEPS_AT:
                time.sleep(3600)
            return micro_batches(self, step)

        Batches.micro_batches = fall_asleep  # type: ignore[method-assign]
    return train.main(arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
