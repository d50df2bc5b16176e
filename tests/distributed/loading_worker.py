"""Run by torchrun: build the engine's model from checkpoints, count memory and bytes on the way."""

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import deepspeed
import torch
from load_run import Marked, Marks  # benchmarks/load_run.py

from llama_gpt4 import engine as engines
from llama_gpt4 import zero_state
from llama_gpt4.architecture import from_path
from llama_gpt4.compose import compose_training
from llama_gpt4.errors import InputError
from llama_gpt4.program import end_at_once
from llama_gpt4.ranks import Ranks, join, leave
from llama_gpt4.weights import folder_weights


class Loaded(Exception):
    """The weights are in their slices, and DeepSpeed's engine would come next."""


def main(out: Path, folders: list[str]) -> None:
    ranks = join(compose_training(["launch.device=cpu"]).launch)
    # The first optimizer of a process imports a compiler, which is not what is measured.
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    results = []
    for case in folders:
        dtype, _, folder = case.partition(":")
        results.append(load(Path(folder), dtype, ranks, out))
    (out / f"rank-{ranks.rank}.json").write_text(json.dumps(results))
    leave()


def load(folder: Path, dtype: str, ranks: Ranks, out: Path) -> dict[str, Any]:
    config = compose_training(
        [f"precision.dtype={dtype}", "zero=stage3", "launch.device=cpu", "model=from_path",
         f"model.path={folder}"]
    )  # fmt: skip
    architecture = from_path(folder, config.model)
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what the case before left free would hide memory
    torch.distributed.barrier()
    marks = Marks()
    try:
        source = folder_weights(folder, architecture)
    except InputError as error:
        return {"refused": str(error)}

    def stop(*args: Any, model: torch.nn.Module, **kwargs: Any) -> None:
        marks.end("load")
        slices = {name: (start, x.clone()) for name, start, x in zero_state.local_slices(model)}
        torch.save(slices, out / f"{folder.name}-{ranks.rank}.pt")
        raise Loaded(sum(p.ds_tensor.nbytes for p in model.parameters()))

    deepspeed.initialize = stop
    try:
        engines.build_engine(config, architecture, Marked(source, marks), ranks)
    except Loaded as loaded:
        (partition_bytes,) = loaded.args
    marks.stop()
    return {"phases": marks.phases, "partition_bytes": partition_bytes}


main(Path(sys.argv[1]), sys.argv[2:])
end_at_once(0)
