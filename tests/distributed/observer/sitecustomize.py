"""Notes which examples each rank of a training takes in which step; found by way of PYTHONPATH.

The program under test stays as it is: Python imports a module of this name before anything else.
"""

import json
import os

if "RANK" in os.environ and "OBSERVED" in os.environ:
    from collections.abc import Iterator
    from typing import Any

    from llama_gpt4.batches import Batches

    micro_batches = Batches.micro_batches

    def observed(self: Batches, step: int) -> Iterator[Any]:
        for batch in micro_batches(self, step):
            with open(f"{os.environ['OBSERVED']}-rank-{os.environ['RANK']}.jsonl", "a") as file:
                file.write(json.dumps({"step": step, "examples": batch.examples}) + "\n")
            yield batch

    Batches.micro_batches = observed  # type: ignore[method-assign]
