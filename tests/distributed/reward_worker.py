"""Run by torchrun: one step of the loss and whole gradients of a training on comparisons, by
program, backbone and ZeRO stage; what came out of from_pretrained under zero.Init; and two more
steps, in one go and with a save, a new engine and a restore in between."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_grad
from llama_gpt4_data import dpo, reward
from llama_gpt4_data.dpo_config import DpoConfig
from llama_gpt4_data.reward_config import ComparisonsConfig, RewardConfig
from llama_gpt4_data.reward_data import prepare

from llama_gpt4 import checkpoint
from llama_gpt4.engine import engine_of, set_learning_rate
from llama_gpt4.engine import step as take_step
from llama_gpt4.frozen_config import load_resolved
from llama_gpt4.loop import Task
from llama_gpt4.program import end_at_once
from llama_gpt4.publication import step_folder
from llama_gpt4.ranks import Ranks, join, leave
from llama_gpt4.run import Subject
from llama_gpt4.saver import Saver


def steps(config: ComparisonsConfig, ranks: Ranks) -> dict[str, np.ndarray]:
    """Loss, gradients and weights of the first step, whole; losses and norms of the next two."""
    subject = subject_of(config, ranks)
    engine = engine_of(config, subject.build, subject.hidden_size, subject.weights, ranks)
    if subject.begin is not None:
        subject.begin(engine)
    with torch.no_grad():
        found: dict[str, Any] = {
            f"weight:{name}": whole(param) for name, param in engine.module.named_parameters()
        }
    found["loss"] = backward(engine, subject.task, 0, ranks)
    for name, param in engine.module.named_parameters():
        gradient = param.grad if param.grad is not None else safe_get_full_grad(param)
        found[f"gradient:{name}"] = gradient.detach().numpy().copy()
    update(engine)
    with Saver(engine, {}, config, ranks) as saver:
        saver.save(checkpoint.RunState(1, ""))
        saver.finish()
    found["straight"] = further(engine, subject.task, ranks)
    saved = checkpoint.Checkpoint(step_folder(Path(config.run_dir), 1))
    subject = subject_of(config, ranks)
    engine = engine_of(config, subject.build, subject.hidden_size, saved, ranks)
    checkpoint.restore(engine, saved)
    found["resumed"] = further(engine, subject.task, ranks)
    return found


def subject_of(config: ComparisonsConfig, ranks: Ranks) -> Subject:
    if isinstance(config, DpoConfig):
        return dpo.subject(config, prepare(config), ranks)
    assert isinstance(config, RewardConfig)
    return reward.subject(config, prepare(config), ranks)


def backward(engine: Any, task: Task, number: int, ranks: Ranks) -> float:
    """A step's passes, up to its update; the loss over all ranks."""
    micro_batches = list(task.batches.micro_batches(number))
    total = torch.zeros((), dtype=torch.float64)
    for index, batch in enumerate(micro_batches):
        engine.set_gradient_accumulation_boundary(index == len(micro_batches) - 1)
        loss = task.parts_of(engine, batch)["loss"]
        engine.backward(loss * ranks.world_size)
        total += loss.detach().double()
    dist.all_reduce(total)
    return float(total)


def update(engine: Any) -> float:
    set_learning_rate(engine, 1e-2)
    return take_step(engine)


def further(engine: Any, task: Task, ranks: Ranks) -> np.ndarray:
    return np.array([(backward(engine, task, n, ranks), update(engine)) for n in (1, 2)])


def whole(param: Any) -> np.ndarray:
    value = safe_get_full_fp32_param(param) if hasattr(param, "ds_id") else param
    return value.detach().numpy().copy()


def main(folder: Path) -> None:
    paths = sorted(folder.glob("*/config.yaml"))
    ranks = join(load_resolved(paths[0]).launch)
    for path in paths:
        config = load_resolved(path)
        assert isinstance(config, ComparisonsConfig)
        found = steps(config, ranks)
        if ranks.rank == 0:
            np.savez(path.parent / f"step-{ranks.world_size}.npz", **found)
    leave()


main(Path(sys.argv[1]))
end_at_once(0)
