"""Run by torchrun: loss and whole gradients of single steps by ZeRO stage, and 20 steps."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepspeed.utils import safe_get_full_grad
from tiny import RESUMED, VOCAB_SIZE, backward, tiny_batches, tiny_config

from llama_gpt4 import checkpoint
from llama_gpt4 import engine as engines
from llama_gpt4.architecture import from_sizes
from llama_gpt4.program import end_at_once
from llama_gpt4.publication import step_folder
from llama_gpt4.ranks import Ranks, join, leave
from llama_gpt4.saver import Saver
from llama_gpt4.schedule import learning_rate
from llama_gpt4.weights import RandomWeights


def whole_gradients(engine: Any) -> dict[str, np.ndarray]:
    found = {}
    for name, param in engine.module.named_parameters():
        gradient = param.grad if param.grad is not None else safe_get_full_grad(param)
        assert gradient is not None, name
        found[name] = gradient.detach().float().cpu().numpy().copy()
    return found


def main(out: Path) -> None:
    ranks = join(tiny_config().launch)
    (out / "allocator").write_text(torch._C._accelerator_getAllocatorSettings())
    for stage in (3, 0, 1, 2):
        # Clipping would scale the gradients before they are read.
        config = tiny_config(f"zero=stage{stage}", "data.batching=pack")
        architecture = from_sizes(config.model, VOCAB_SIZE)
        engine = engines.build_engine(config, architecture, RandomWeights(architecture, 0), ranks)
        cases = [("pack", "global_tokens", 8), ("pack", "global_tokens", 1)]
        if stage == 3:
            cases += [("pack", "example", 8), ("pack", "example", 1), ("pack", "micro_batch", 1)]
            cases += [("pad", "global_tokens", 8), ("pad", "example", 1)]
        for batching, normalisation, micro_rows in cases:
            data = replace(config.data, batching=batching)
            batches = tiny_batches(data, normalisation, micro_rows, ranks.rank, ranks.world_size)
            for step in (0, batches.steps_per_epoch - 1):
                loss = backward(engine, batches, step, ranks)
                gradients = whole_gradients(engine)
                engines.set_learning_rate(engine, 0.0)
                norm = engines.step(engine)
                if ranks.rank == 0:
                    np.savez(
                        out / f"stage{stage}-{batching}-{normalisation}-{micro_rows}-{step}.npz",
                        loss=loss,
                        norm=norm,
                        **gradients,
                    )
        if stage == 3:
            train(config, ranks, out)
    resume(ranks, out)
    leave()


def resume(ranks: Ranks, out: Path) -> None:
    """Four steps in one go, and with a save, a new engine and a restore in the middle."""
    for stage, dtype in RESUMED:
        config = tiny_config(f"zero=stage{stage}", f"precision.dtype={dtype}")
        architecture = from_sizes(config.model, VOCAB_SIZE)
        batches = tiny_batches(config.data, "global_tokens", 2, ranks.rank, ranks.world_size)

        def steps(
            engine: Any, first: int, saver: Saver | None = None, batches: Any = batches
        ) -> list[tuple[float, float]]:
            engines.set_learning_rate(engine, 1e-3)
            found = []
            for step in (first, first + 1):
                loss = backward(engine, batches, step, ranks)
                if saver is not None:
                    saver.wait_until_copied()
                found.append((loss, engines.step(engine)))
            return found

        engine = engines.build_engine(config, architecture, RandomWeights(architecture, 0), ranks)
        steps(engine, 0)
        own = replace(config, run_dir=str(out / f"run-{stage}-{dtype}"))
        with Saver(engine, {}, own, ranks) as saver:
            saver.save(checkpoint.RunState(2, ""))
            straight = steps(engine, 2, saver)
            saver.finish()
        saved = checkpoint.Checkpoint(step_folder(Path(own.run_dir), 2))
        engine = engines.build_engine(config, architecture, saved, ranks)
        checkpoint.restore(engine, saved)
        resumed = steps(engine, 2)
        if ranks.rank == 0:
            np.savez(out / f"resumed-{stage}-{dtype}.npz", straight=straight, resumed=resumed)


def train(config: Any, ranks: Ranks, out: Path) -> None:
    """Twenty steps from the start: the losses and gradient norms."""
    architecture = from_sizes(config.model, VOCAB_SIZE)
    engine = engines.build_engine(config, architecture, RandomWeights(architecture, 0), ranks)
    batches = tiny_batches(config.data, "global_tokens", 2, ranks.rank, ranks.world_size)
    curve = []
    for step in range(20):
        rate = learning_rate(step, kind="cosine", peak=1e-3, warmup_steps=3, total_steps=20)
        engines.set_learning_rate(engine, rate)
        loss = backward(engine, batches, step, ranks)
        curve.append((loss, engines.step(engine)))
    if ranks.rank == 0:
        np.savez(out / "curve.npz", curve=np.array(curve))


main(Path(sys.argv[1]))
end_at_once(0)
