"""The loss of a batch of pairs, against TRL's and against the formula."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from llama_gpt4_data.dpo import implicit_rewards
from llama_gpt4_data.dpo_model import Policy
from llama_gpt4_data.dpo_reference import Reference, weights_digest
from llama_gpt4_data.ranking import accuracy, batch_loss
from llama_gpt4_data.reward_batches import RewardBatch, RewardBatches
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import PreparedComparisons
from llama_gpt4_data.reward_model import apart
from llama_gpt4_kernels.reference import REFERENCE
from transformers import AutoModelForCausalLM

from llama_gpt4.architecture import described, from_hugging_face
from llama_gpt4.errors import InputError
from llama_gpt4.ranks import Ranks

from .local_teacher import write_tiny_model
from .reward_runs import dpo_config, many, write

BETA = 0.25
ONE = Ranks(0, 0, 1, 1, torch.device("cpu"), "here")


class Setting(SimpleNamespace):
    folder: Path
    prepared: PreparedComparisons
    policy: Policy
    batch: RewardBatch
    rewards: torch.Tensor
    parts: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A start, a policy that has left it, and one step's batch with its implicit rewards."""
    folder = tmp_path_factory.mktemp("dpo")
    write_tiny_model(folder / "start")
    file = write(folder, many(7))
    config = dpo_config(folder, folder / "start", f"data.files=[{file}]", f"loss.beta={BETA}")
    prepared = prepare(config)
    architecture = from_hugging_face(described(folder / "start"))
    start = AutoModelForCausalLM.from_pretrained(folder / "start", dtype=torch.float32)
    policy = Policy(architecture, REFERENCE, "none")
    policy.load_state_dict(start.state_dict())
    [batch] = RewardBatches(
        prepared.train, config.ranking, prompts_per_step=7, prompts_per_micro_step=7,
        seed=0, rank=0, world_size=1,
    ).micro_batches(0)  # fmt: skip
    with torch.no_grad():
        before = np.zeros(len(prepared.train.scores))
        found = policy(batch.tokens, batch.groups)
        before[batch.responses.numpy()] = found.double().numpy()
    (folder / "run" / "reference").mkdir(parents=True)
    np.save(folder / "run" / "reference" / "train.npy", before)
    generator = torch.Generator().manual_seed(2)
    for parameter in policy.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    reference = Reference(config, prepared, ONE)
    rewards, parts = implicit_rewards(reference, BETA, ONE, policy, batch, prepared.train)
    return Setting(
        folder=folder, prepared=prepared, policy=policy, batch=batch, rewards=rewards,
        parts=parts, loss=batch_loss(rewards, batch, config.ranking).detach(),
    )  # fmt: skip


def pair_ids(setting: Setting) -> list[dict[str, list[int]]]:
    """Each pair of the batch as TRL's collator takes it."""
    batch, found = setting.batch, []
    texts = [ids.tolist() for ids in apart(batch.tokens, batch.groups)]
    answers = [n for group in batch.groups for n in group.responses]
    for better, worse in batch.pairs.tolist():
        prompt = texts[better][: -answers[better]]
        assert prompt == texts[worse][: -answers[worse]]
        found.append(
            {
                "prompt_ids": prompt,
                "chosen_ids": texts[better][len(prompt) :],
                "rejected_ids": texts[worse][len(prompt) :],
            }
        )
    return found


def test_the_loss_is_trls(setting: Setting, tmp_path: Path) -> None:
    import trl
    from datasets import Dataset
    from transformers import AutoTokenizer

    models = []
    for state in (setting.policy.state_dict(), None):
        model = AutoModelForCausalLM.from_pretrained(setting.folder / "start", dtype=torch.float32)
        if state is not None:
            model.load_state_dict(state)
        models.append(model)
    tokenizer = AutoTokenizer.from_pretrained(setting.folder / "start")
    trainer = trl.DPOTrainer(
        model=models[0],
        ref_model=models[1],
        args=trl.DPOConfig(
            output_dir=str(tmp_path), beta=BETA, use_cpu=True, bf16=False, report_to=[],
            activation_checkpointing=False, max_length=None,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=tokenizer,
    )  # fmt: skip
    inputs = trainer.data_collator(pair_ids(setting))
    theirs = trainer._compute_loss(trainer.model, inputs, return_outputs=False)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    assert float(setting.loss) != pytest.approx(math.log(2), abs=1e-3)
    assert float(setting.loss) == pytest.approx(float(theirs.detach()), abs=1e-5)


def test_the_loss_and_what_is_told_are_the_formulas(setting: Setting) -> None:
    folder, batch = setting.folder, setting.batch
    answers = [n for group in batch.groups for n in group.responses]
    likely = []
    for state in (setting.policy.state_dict(), None):
        model = AutoModelForCausalLM.from_pretrained(folder / "start", dtype=torch.float32)
        if state is not None:
            model.load_state_dict(state)
        likely.append(
            [
                float(
                    model.double()(ids[None]).logits[0, :-1].log_softmax(-1)
                    .gather(1, ids[1:, None])[-answer:].sum()
                )
                for ids, answer in zip(apart(batch.tokens, batch.groups), answers, strict=True)
            ]
        )  # fmt: skip
    now, before = np.array(likely)
    better, worse = batch.pairs.numpy().T
    ahead = BETA * ((now - before)[better] - (now - before)[worse])
    assert float(setting.loss) == pytest.approx(np.log1p(np.exp(-ahead)).mean(), abs=1e-6)
    told = {name: float(part) for name, part in setting.parts.items()}
    assert told == pytest.approx(
        {
            "reward_margin": ahead.mean(),
            "chosen_log_probability": now[better].mean(),
            "rejected_log_probability": now[worse].mean(),
        },
        rel=1e-4,
    )
    assert float(accuracy(setting.rewards, batch)) == pytest.approx((ahead > 0).mean())


def test_a_lost_reference_is_named(setting: Setting, tmp_path: Path) -> None:
    config = dpo_config(tmp_path, setting.folder / "start", "data.files=[a.json]")
    reference = Reference(config, setting.prepared, ONE)
    with pytest.raises(InputError, match=r"reference/train\.npy is missing or damaged"):
        reference.of(setting.prepared.train, setting.batch.responses)


def test_other_weights_have_another_digest(setting: Setting, tmp_path: Path) -> None:
    before = weights_digest(setting.folder / "start")
    copy = tmp_path / "model.safetensors"
    content = bytearray((setting.folder / "start" / "model.safetensors").read_bytes())
    copy.write_bytes(content)
    assert weights_digest(tmp_path) == before
    content[-1] ^= 1
    copy.write_bytes(content)
    assert weights_digest(tmp_path) != before


def test_another_description_of_the_model_has_another_reference(
    setting: Setting, tmp_path: Path
) -> None:
    """The same weights with another epsilon find responses otherwise likely."""
    shutil.copytree(setting.folder / "start", tmp_path / "start")
    names = set()
    for epsilon in (1e-6, 1e-2):
        file = tmp_path / "start" / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"rms_norm_eps": epsilon}))
        config = dpo_config(tmp_path, tmp_path / "start", "data.files=[a.json]")
        names.add(Reference(config, setting.prepared, ONE)._folder())
    assert len(names) == 2
