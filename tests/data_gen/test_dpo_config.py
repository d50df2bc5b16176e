"""Keys of preference training: what is refused, and that recipes compose."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from llama_gpt4_data.dpo_config import DpoConfig

from llama_gpt4.compose import compose_run
from llama_gpt4.errors import InputError

from .reward_runs import dpo_config


def test_values_live_in_yaml(tmp_path: Path) -> None:
    config = dpo_config(tmp_path, tmp_path / "model")
    assert config.loss.beta == 0.1 and config.ranking.kind == "mean_over_pairs"
    assert all(field.default is MISSING for field in fields(DpoConfig))


def test_the_recipe_composes() -> None:
    config = compose_run("dpo", ["experiment=dpo_7b", "model.path=weights/alpaca"])
    assert config.optim.lr == 5e-7 and config.schedule.kind == "linear"


def test_random_weights_have_no_preferences() -> None:
    with pytest.raises(InputError, match=r"model\.path=null: preferences are learned by"):
        compose_run("dpo", ["model=tiny"])


@pytest.mark.parametrize(
    "override, line",
    [
        ("loss.beta=0", "loss.beta=0.0 must be positive"),
        ("loss.kind=margin", "loss.kind=margin is not one of mean_over_pairs, pairwise"),
        ("loss.points=1", "loss.points is not a key"),
        ("train.dry=true", "train.dry is for `llama-gpt4 train`"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, override: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        dpo_config(tmp_path, tmp_path / "model", override)
    assert line in str(caught.value)
