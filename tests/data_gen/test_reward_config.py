"""The configuration of a reward model holds together, and its values are in YAML only."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from llama_gpt4_data.reward_config import LOSSES, RewardConfig

from llama_gpt4.compose import compose_run
from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import freeze, load_resolved


def test_a_frozen_run_is_read_back_in_its_own_class(tmp_path: Path) -> None:
    config = compose_run("reward", [f"run_dir={tmp_path}/run"])
    assert isinstance(config, RewardConfig)
    assert load_resolved(freeze(config)) == config
    assert all(field.default is MISSING for field in fields(RewardConfig))


def test_rows_are_prompts() -> None:
    config = compose_run("reward", ["batch.prompts_per_step=12", "batch.prompts_per_micro_step=3"])
    assert (config.rows_per_step, config.rows_per_micro_step) == (12, 3)


@pytest.mark.parametrize(
    "override, words",
    [
        ("loss.points=-1", r"loss\.points=-1\.0 is negative"),
        ("loss.centring=-1", r"loss\.centring=-1\.0 is negative"),
        ("batch.prompts_per_step=0", r"batch\.prompts_per_step=0 must be positive"),
        ("data.out_of_range=warn", r"data\.out_of_range=warn is not one of keep, drop"),
        ("loss.kind=hinge", "not one of " + ", ".join(LOSSES)),
        ("model.attention=varlen", r"model\.attention=varlen takes no float32"),
    ],
)
def test_what_does_not_hold_together_is_refused(override: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        compose_run("reward", [override])


def test_the_paper_s_recipe_names_its_backbone() -> None:
    config = compose_run("reward", ["experiment=opt_1.3b"])
    assert config.model.path == "facebook/opt-1.3b" and config.loss.kind == "pairwise"
    assert config.precision.dtype == "bfloat16" and config.zero.stage == 3
