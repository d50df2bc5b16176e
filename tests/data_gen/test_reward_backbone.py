"""Which backbone is built, what it costs, and what is refused before anything is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_gpt4_data.reward_backbone import (
    WithNewHead,
    hub_backbone,
    is_llama,
    is_reward_model,
    llama_backbone,
)
from llama_gpt4_data.reward_data import prepare

from llama_gpt4.compose import require_consistent
from llama_gpt4.errors import InputError
from llama_gpt4.ranks import Ranks

from .reward_runs import on_opt, reward_config

IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0}
RANKS = Ranks(0, 0, 1, 1, torch.device("cpu"), "here")


def changed_config(model: Path, folder: Path, **changes: Any) -> Path:
    """A copy of `model` whose config.json says something else."""
    shutil.copytree(model, folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, **changes}))
    return folder


def test_random_weights_are_a_llama_with_a_head_of_zeros(tmp_path: Path) -> None:
    config = reward_config(tmp_path)
    backbone = llama_backbone(config, 512, IDS, RANKS)
    assert is_llama(config.model) and backbone.hidden_size == 32
    assert backbone.described["architectures"] == ["LlamaForSequenceClassification"]
    assert isinstance(backbone.weights, WithNewHead)
    head, other = torch.ones(4), torch.zeros(4)
    backbone.weights.fill("score.weight", 0, head)
    backbone.weights.fill("model.embed_tokens.weight", 0, other)
    assert head.tolist() == [0] * 4 and other.abs().min() > 0


def test_a_model_of_transformers_is_described_as_one_that_it_loads(
    tmp_path: Path, opt: Path
) -> None:
    config = reward_config(tmp_path, *on_opt(opt))
    require_consistent(config, 2)
    backbone = hub_backbone(config, 300, IDS)
    assert not is_llama(config.model) and backbone.weights is None
    assert backbone.described["architectures"] == ["OPTForSequenceClassification"]
    assert backbone.described["dropout"] == 0.0 and backbone.described["pad_token_id"] == 0
    with pytest.raises(InputError, match=r"tokenizer has 999999 pieces, .* rows of embeddings"):
        hub_backbone(config, 999999, IDS)


@pytest.mark.parametrize(
    "override, words",
    [
        ("model.recompute=lean", "opt, which transformers computes: model.recompute=lean"),
        ("model.kernels=fused", "model.kernels=fused is of our LLaMA, use reference"),
        ("model.n_layers=2", "leave model.n_layers null"),
        ("data.row_tokens=512", "data.row_tokens=512 exceeds its 256 positions"),
    ],
)
def test_what_only_our_llama_can_is_refused_before_the_data_are_read(
    tmp_path: Path, opt: Path, override: str, words: str
) -> None:
    config = reward_config(tmp_path, "data.files=[nowhere.json]", *on_opt(opt), override)
    with pytest.raises(InputError) as raised:
        prepare(config)
    assert words in str(raised.value)


def test_a_model_without_such_a_head_is_refused(tmp_path: Path, opt: Path) -> None:
    other = changed_config(opt, tmp_path / "whisper", model_type="mamba", state_size=8)
    with pytest.raises(InputError, match="no model of the type mamba with a head"):
        hub_backbone(reward_config(tmp_path, *on_opt(other)), 300, IDS)
    unknown = changed_config(opt, tmp_path / "unknown", model_type="abacus")
    with pytest.raises(InputError, match="no model that transformers knows"):
        hub_backbone(reward_config(tmp_path, *on_opt(unknown)), 300, IDS)


def test_a_classifier_is_no_reward_model(tmp_path: Path, opt: Path) -> None:
    assert not is_reward_model(opt)
    kind = ["OPTForSequenceClassification"]
    three = changed_config(
        opt, tmp_path / "three", architectures=kind, id2label={i: "" for i in "012"}
    )
    with pytest.raises(InputError, match="tells 3 classes apart"):
        is_reward_model(three)
