"""A reward model, or a policy that learns preferences, on two processes is the one of a plain loop;
it stops and goes on bit for bit, and what a run exports is what transformers loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from llama_gpt4_data.dpo_config import DpoConfig
from llama_gpt4_data.dpo_model import Policy
from llama_gpt4_data.ranking import batch_loss
from llama_gpt4_data.reward_batches import RewardBatches
from llama_gpt4_data.reward_config import ComparisonsConfig
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_model import HubReward, LlamaReward
from llama_gpt4_data.score import Encoded, Scorer
from llama_gpt4_kernels.reference import REFERENCE
from torch import nn

from llama_gpt4.architecture import described, from_hugging_face
from llama_gpt4.frozen_config import freeze
from llama_gpt4.model import reference_decoder
from llama_gpt4.weights import folder_weights

from ..command import llama_gpt4, metrics
from ..data_gen.local_teacher import write_tiny_model
from ..data_gen.reward_runs import (
    SMALL,
    dpo_config,
    many,
    on_opt,
    reward_config,
    write,
    write_tiny_opt,
)
from ..llama_gpt4.offline_runs import summarised
from ..tiny_llama import tiny_llama

pytestmark = pytest.mark.distributed

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def opt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_opt(tmp_path_factory.mktemp("opt") / "model")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What preferences are learned from."""
    folder = tmp_path_factory.mktemp("start") / "model"
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def cases(
    opt: Path, start: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ComparisonsConfig]:
    """Configurations by name; the worker has taken the first step of each on two processes."""
    folder = tmp_path_factory.mktemp("cases")
    file = write(folder, many(9))
    common = [f"data.files=[{file}]", "batch.prompts_per_step=7", "batch.prompts_per_micro_step=2"]
    variants = {
        "llama-3": ["zero=stage3"],
        "opt-3": ["zero=stage3", *on_opt(opt)],
        "opt-0": ["zero=stage0", *on_opt(opt), "loss.kind=plackett_luce", "loss.centring=0.1"],
    }
    configs: dict[str, ComparisonsConfig] = {}
    for name, overrides in variants.items():
        configs[name] = reward_config(folder, *common, *overrides, f"run_dir={folder}/{name}")
    for name, overrides in {"policy-3": ["zero=stage3"], "policy-1": ["zero=stage1"]}.items():
        places = [f"run_dir={folder}/{name}", f"data.validation.files=[{file}]"]
        configs[name] = dpo_config(folder, start, *common, *overrides, *places)
    for name in configs:
        freeze(configs[name])
        prepare(configs[name])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [sys.executable, *launcher, str(HERE / "reward_worker.py"), str(folder)],
        check=True,
        env=environment,
        timeout=300,
    )
    return configs


def plain_model(name: str, opt: Path, vocab_size: int) -> nn.Module:
    if name.startswith("opt"):
        from transformers import AutoModelForSequenceClassification

        whole = AutoModelForSequenceClassification.from_pretrained(opt, num_labels=1)
        return HubReward(whole.eval())
    sizes = {"feed_forward_size": 64, "n_kv_heads": 4, "max_positions": 2048}
    return LlamaReward(reference_decoder(tiny_llama(vocab_size=vocab_size, **sizes)))


@pytest.mark.parametrize("name", ["llama-3", "opt-3", "opt-0"])
def test_two_processes_take_the_step_of_a_plain_loop(
    cases: dict[str, ComparisonsConfig], opt: Path, name: str
) -> None:
    config = cases[name]
    found = np.load(Path(config.run_dir) / "step-2.npz")
    prepared = prepare(config)
    model = plain_model(name, opt, prepared.vocab_size)
    for key, param in model.named_parameters():
        sharded = torch.from_numpy(found[f"weight:{key}"])
        if key == "score.weight":
            assert not sharded.any(), "a new head is of zeros"
        elif name.startswith("opt"):
            assert torch.equal(sharded, param), f"{key} is not what the file holds"
        param.data.copy_(sharded)
    model.double()
    batches = RewardBatches(
        prepared.train, config.ranking, prompts_per_step=7, prompts_per_micro_step=7,
        seed=config.seed, rank=0, world_size=1,
    )  # fmt: skip
    [batch] = batches.micro_batches(0)
    loss = batch_loss(model(batch.tokens, batch.groups), batch, config.ranking)
    loss.backward()
    assert abs(float(found["loss"]) - float(loss.detach())) < 1e-6
    for key, param in model.named_parameters():
        assert param.grad is not None, key
        error = np.abs(found[f"gradient:{key}"] - param.grad.numpy()).max()
        assert error <= 1e-6 * max(1e-3, float(param.grad.abs().max())), key


@pytest.mark.parametrize("name", ["policy-3", "policy-1"])
def test_preferences_are_learned_as_in_a_plain_loop(
    cases: dict[str, ComparisonsConfig], start: Path, name: str
) -> None:
    config = cases[name]
    assert isinstance(config, DpoConfig)
    found = np.load(Path(config.run_dir) / "step-2.npz")
    prepared = prepare(config)
    architecture = from_hugging_face(described(start))
    model = Policy(architecture, REFERENCE, "none")
    weights = folder_weights(start, architecture)
    for key, param in model.named_parameters():
        weights.fill(key, 0, param.data.view(-1))
        assert np.array_equal(found[f"weight:{key}"], param.detach().numpy()), key
    model.double()
    batches = RewardBatches(
        prepared.train, config.ranking, prompts_per_step=7, prompts_per_micro_step=7,
        seed=config.seed, rank=0, world_size=1,
    )  # fmt: skip
    [batch] = batches.micro_batches(0)
    likely = model(batch.tokens, batch.groups)
    kept = np.load(Path(config.run_dir) / "reference" / "train.npy")
    assert np.abs(kept[batch.responses.numpy()] - likely.detach().numpy()).max() < 1e-4
    loss = batch_loss(config.loss.beta * (likely - likely.detach()), batch, config.ranking)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(np.log(2))
    assert abs(float(found["loss"]) - np.log(2)) < 1e-6
    for key, param in model.named_parameters():
        assert param.grad is not None, key
        error = np.abs(found[f"gradient:{key}"] - param.grad.numpy()).max()
        assert error <= 1e-6 * max(1e-2, float(param.grad.abs().max())), key


def test_the_reference_is_computed_once(cases: dict[str, ComparisonsConfig]) -> None:
    """The second run finds it in the cache, where there is one for both; each run keeps its own."""
    [folder] = Path(cases["policy-3"].data.cache_dir).glob("reference-*/")
    for part in ("train.npy", "validation.npy"):
        for name in ("policy-3", "policy-1"):
            kept = Path(cases[name].run_dir) / "reference" / part
            assert kept.read_bytes() == (folder / part).read_bytes()


@pytest.mark.parametrize("name", ["llama-3", "opt-3", "opt-0", "policy-3", "policy-1"])
def test_a_resumed_run_is_equal_bit_for_bit(cases: dict[str, ComparisonsConfig], name: str) -> None:
    found = np.load(Path(cases[name].run_dir) / "step-2.npz")
    assert np.isfinite(found["straight"]).all() and found["straight"][1, 0] != np.log(2)
    assert np.array_equal(found["straight"], found["resumed"])


def test_a_run_exports_what_transformers_loads(opt: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    run_dir, file = tmp_path / "run", write(tmp_path, many(24))
    data = [f"data.files=[{file}]", "data.validation.share=0.2", f"data.cache_dir={tmp_path}/cache"]
    keys = [f"run_dir={run_dir}", "optim.lr=1e-2", "train.steps=6", "train.eval_every_steps=3"]
    done = llama_gpt4("reward", *SMALL, *on_opt(opt), *data, *keys, "tracking=wandb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held-out prompts, " in done.stdout and "fitted on the training data" in done.stdout
    steps = metrics(run_dir)
    assert steps[0]["loss"] == pytest.approx(np.log(2)) and steps[-1]["loss"] < 0.68
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").open()]
    evaluated = [line for line in lines if "eval_loss" in line]
    assert [line["step"] for line in evaluated] == [3, 6]
    found = json.loads((run_dir / "reward_report.json").read_text())
    # The exported model, read by itself, judges as the engine did.
    accuracy = found["overall"]["accuracy"]["value"]
    assert accuracy == pytest.approx(evaluated[-1]["eval_accuracy"])
    [file] = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    said = summarised(file)
    assert said["reward/accuracy"] == pytest.approx(accuracy)
    assert said["reward/table/nrows"] == 1 + sum(map(len, found["by"].values()))
    [picture] = file.parent.glob("files/media/images/reward/report_6_*.png")
    assert picture.read_bytes() == (run_dir / "reward_report.png").read_bytes()

    theirs = AutoModelForSequenceClassification.from_pretrained(run_dir / "model").eval()
    ids = AutoTokenizer.from_pretrained(run_dir / "model")("Why? Because.")["input_ids"]
    with torch.no_grad():
        truth = float(theirs(torch.tensor([ids])).logits)
    response = Encoded((*ids[:2],), (*ids[2:],))
    assert Scorer(run_dir / "model").rewards_of_tokens([response]) == pytest.approx(
        [truth], abs=1e-5
    )
