"""A dry run: what a start would do at its number of processes, on a machine without their GPUs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llama_gpt4 import dry
from llama_gpt4.architecture import from_sizes
from llama_gpt4.compose import compose_training
from llama_gpt4.config import TrainConfig
from llama_gpt4.deepspeed_config import deepspeed_config
from llama_gpt4.schedule import Plan

from ..command import FAST, llama_gpt4


@pytest.mark.e2e
def test_a_run_for_sixteen_gpus_on_a_machine_without_any(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    overrides = [
        *FAST,
        f"run_dir={run_dir}",
        f"data.cache_dir={tmp_path}/cache",
        "launch.device=cuda",
        "launch.processes=16",
        "precision.dtype=bfloat16",
        "model.kernels=fused",
        "model.attention=varlen",
        "batch.tokens_per_step=8192",
        "zero=hpz",
        "train.steps=100",
    ]
    done = llama_gpt4("train", "train.dry=true", *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train: 230 records read, 230 used" in done.stdout
    assert "100 steps of a schedule of 340 (2 an epoch), warm-up 11" in done.stdout
    assert "bfloat16, 16 x cuda, ZeRO-3, fused kernels, varlen attention" in done.stdout
    assert "learning rate: 0 at step 1, 0.003 at step 12, " in done.stdout
    assert "step 1 went through DeepSpeed as process 0 of 16" in done.stdout
    assert "micro-steps: 2\n" in done.stdout  # 32 rows, one at a time
    config = compose_training(overrides)
    said = done.stdout.partition("DeepSpeed's configuration: ")[2]
    assert json.JSONDecoder().raw_decode(said)[0] == deepspeed_config(config, 32, 16)
    assert not run_dir.exists()
    assert len(list((tmp_path / "cache").glob("*/meta.json"))) == 1


@pytest.mark.e2e
@pytest.mark.parametrize("rank", [0, 1])
def test_under_another_launcher_one_rank_speaks_for_all(tmp_path: Path, rank: int) -> None:
    program = [sys.executable, "-m", "llama_gpt4.train", *FAST, f"run_dir={tmp_path}/run"]
    environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": "4"}
    done = subprocess.run(
        [*program, "train.dry=true"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert ("as process 0 of 4" in done.stdout) == (rank == 0)
    assert bool(done.stdout) == (rank == 0)
    assert not (tmp_path / "run").exists()


@pytest.mark.e2e
def test_what_a_start_refuses_it_refuses(tmp_path: Path) -> None:
    clip = "+zero.deepspeed.gradient_clipping=5.0"
    done = llama_gpt4("train", "train.dry=true", *FAST, f"run_dir={tmp_path}/run", clip)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("llama-gpt4 train: zero.deepspeed.gradient_clipping=5.0 contradicts 1.0")
    assert not list(tmp_path.iterdir())


def test_a_process_keeps_its_part_of_every_parameter(
    train_config: Callable[..., TrainConfig],
) -> None:
    config = train_config()
    architecture = from_sizes(config.model, 1024)
    [line] = dry._model_lines(config, architecture, 3)
    # By hand: embedding and head, 2 layers of q, k, v, o, gate, up, down and 2 norms, the last norm
    sizes = [1024 * 32] * 2 + [32] * 5 + [32 * 32, 16 * 32, 16 * 32, 32 * 32, *[64 * 32] * 3] * 2
    assert f"{len(sizes)} parameter tensors, {sum(sizes):,} values" in line
    assert f"keeps {sum(-(-n // 3) for n in sizes):,} of them in float32" in line
    replicated = replace(config, zero=replace(config.zero, stage=2))
    [line] = dry._model_lines(replicated, architecture, 3)
    assert f"keeps {sum(sizes):,} of them" in line


def test_the_schedule_is_shown_where_it_turns(train_config: Callable[..., TrainConfig]) -> None:
    config = train_config(**{"train.save_every_steps": 50, "data.validation.share": 0.1})
    rates, cadence = dry._plan_lines(config, Plan(100, 10, 100))
    assert rates.startswith("learning rate: 0 at step 1, 0.001 at step 11, ")
    assert cadence == "saves every 50 steps and at the end, keeps 1; evaluates at the end"
    [short, _] = dry._plan_lines(config, Plan(100, 10, 1))
    assert short == "learning rate: 0 at step 1"
