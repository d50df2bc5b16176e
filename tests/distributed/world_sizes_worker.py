"""Trains and saves on four processes; then any other number of them, under every ZeRO stage, says
what it has of it, and trains on. A world's processes are forks of this one, with all imported."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

os.environ["DS_ACCELERATOR"] = "cpu"  # before DeepSpeed is imported

import numpy as np
from tiny import VOCAB_SIZE, backward, tiny_batches, tiny_config

from llama_gpt4 import checkpoint, zero_state
from llama_gpt4 import engine as engines
from llama_gpt4.architecture import from_sizes
from llama_gpt4.config import TrainConfig
from llama_gpt4.publication import step_folder
from llama_gpt4.ranks import Ranks, join, leave
from llama_gpt4.saver import Saver
from llama_gpt4.weights import RandomWeights

DTYPES = ("float32", "bfloat16")


def main(out: Path) -> None:
    fork(4, out, save)
    for world in (1, 2, 8):
        fork(world, out, resume)


def fork(world: int, out: Path, work: Any) -> None:
    """Run `work` on `world` processes, which have to succeed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            try:
                work(join(tiny_config().launch), out)
                leave()
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * world


def save(ranks: Ranks, out: Path) -> None:
    for dtype in DTYPES:
        run_dir = out / f"run-{dtype}"
        overrides = [f"precision.dtype={dtype}", f"run_dir={run_dir}"]
        config = tiny_config("zero=stage3", *overrides)
        architecture = from_sizes(config.model, VOCAB_SIZE)
        engine = engines.build_engine(config, architecture, RandomWeights(architecture, 0), ranks)
        steps(engine, config, ranks, 0)
        with Saver(engine, {}, config, ranks) as saver:
            saver.save(checkpoint.RunState(2, ""))
            saver.finish()
        note(engine, config, ranks, out)


def resume(ranks: Ranks, out: Path) -> None:
    for dtype in DTYPES:
        saved = checkpoint.Checkpoint(step_folder(out / f"run-{dtype}", 2))
        for stage in (1, 2, 3):
            config = tiny_config(f"precision.dtype={dtype}", f"zero=stage{stage}")
            architecture = from_sizes(config.model, VOCAB_SIZE)
            engine = engines.build_engine(config, architecture, saved, ranks)
            checkpoint.restore(engine, saved)
            note(engine, config, ranks, out)


def note(engine: Any, config: TrainConfig, ranks: Ranks, out: Path) -> None:
    """What this rank holds, and then the losses of two more steps."""
    held = {}
    for fragment in zero_state.fragments(engine):
        for kind, values in {"master": fragment.master, **fragment.moments}.items():
            held[f"{fragment.name}:{fragment.start}:{kind}"] = values.detach().numpy().copy()
    for name, start, values in zero_state.local_slices(engine.module):
        held[f"{name}:{start}:weight"] = values.detach().float().numpy().copy()
    folder = out / f"{config.precision.dtype}-stage{config.zero.stage}-world{ranks.world_size}"
    folder.mkdir(exist_ok=True)
    # In bfloat16 each process rounds its part of a gradient: other worlds follow other curves.
    losses = steps(engine, config, ranks, 2) if config.precision.dtype == "float32" else []
    np.savez(folder / f"rank-{ranks.rank}.npz", losses=losses, **held)


def steps(engine: Any, config: TrainConfig, ranks: Ranks, first: int) -> list[float]:
    """The losses of two steps from `first` on."""
    batches = tiny_batches(config.data, "global_tokens", 2, ranks.rank, ranks.world_size)
    engines.set_learning_rate(engine, 1e-3)
    losses = []
    for step in (first, first + 1):
        losses.append(backward(engine, batches, step, ranks))
        engines.step(engine)
    return losses


main(Path(sys.argv[1]))
