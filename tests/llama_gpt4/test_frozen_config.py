"""The file of a run's configuration: it reads back the same, and belongs to one run."""

from pathlib import Path

import pytest

from llama_gpt4.compose import compose_training
from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import config_hash, freeze, load_resolved


def test_a_frozen_configuration_reads_back_the_same(tmp_path: Path) -> None:
    config = compose_training([f"run_dir={tmp_path}/run", "experiment=gpt4llm_release"])
    assert load_resolved(freeze(config)) == config


def test_the_config_of_another_version_is_named(tmp_path: Path) -> None:
    frozen = freeze(compose_training([f"run_dir={tmp_path}/run"]))
    frozen.write_text(frozen.read_text().replace("seed:", "sead:"))
    with pytest.raises(InputError, match=rf"^{frozen} is not as this version writes it: s[ea]+d "):
        load_resolved(frozen)


def test_another_configuration_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    here = f"run_dir={tmp_path}/run"
    freeze(compose_training([here, "optim.lr=1"]))  # nothing has trained there yet
    freeze(compose_training([here]))
    (tmp_path / "run" / "metrics.jsonl").touch()
    freeze(compose_training([here, "train.steps=9"]))
    freeze(compose_training([here, "zero=stage1"]))
    with pytest.raises(InputError, match=r"optim.lr: 0.003 there, 1.0 here"):
        freeze(compose_training([here, "optim.lr=1"]))
    with pytest.raises(InputError, match=r"data.weights: \[\] there, \[1.0, 2.0\] here"):
        freeze(compose_training([here, "data.weights=[1,2]"]))


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        freeze(compose_training([f"run_dir={tmp_path}/file/run"]))


def test_the_hash_counts_what_decides_the_weights() -> None:
    assert config_hash(compose_training([])) != config_hash(compose_training(["seed=1"]))
