"""Composition: what a user types, and the one line that answers a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llama_gpt4.architecture import from_sizes
from llama_gpt4.compose import compose_training, require_consistent
from llama_gpt4.errors import InputError


def test_the_default_is_the_tiny_experiment() -> None:
    config = compose_training([])
    assert config.name == "tiny"
    assert config.rows_per_step * config.data.row_tokens == config.batch.tokens_per_step


@pytest.mark.parametrize(
    "override, message",
    [
        ("data.files=[]", "data.files is empty"),
        ("data.weights=[1]", "data.weights=[1.0] for 2 data.files"),
        ("data.files=[{a: x, a: y}]", "data.files has the name a twice: give each one of its own"),
        ("zero.deepspeed=[x]", "zero.deepspeed is a mapping: write zero.deepspeed={name: …}"),
        ("optim.lr=-1", "optim.lr=-1.0 must be positive"),
        ("a b", "cannot read the override 'a b'"),
        ("batch.tokens_per_step=1000", "512 or 1024 would do"),
        ("data.batching=pad", "batch.examples_per_step=None: data.batching=pad counts"),
        ("data.row_tokens=4096", "data.row_tokens=4096 exceeds model.max_positions=2048"),
        ("model.n_heads=3", "model.hidden_size=128 must be an even multiple of model.n_heads=3"),
        ("seed=-1", "seed=-1 is negative"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(override: str, message: str) -> None:
    arguments = [override]
    if override == "data.row_tokens=4096":
        arguments.append("batch.tokens_per_step=8192")
    with pytest.raises(InputError) as error:
        compose_training(arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_of_two_values_the_last_counts() -> None:
    assert compose_training(["seed=1", "seed=2", "seed=1"]).seed == 1


def test_a_contradiction_to_deepspeeds_derived_keys_needs_no_process() -> None:
    require_consistent(compose_training(["+zero.deepspeed.train_batch_size=8"]), 4)
    with pytest.raises(InputError, match="train_batch_size=8 contradicts 4"):
        require_consistent(compose_training(["+zero.deepspeed.train_batch_size=8"]), 2)


def test_sizes_that_contradict_config_json_need_no_process(tmp_path: Path) -> None:
    own = compose_training([])
    described = from_sizes(own.model, 2048).to_hugging_face("float32", 1, 2, 0)
    (tmp_path / "config.json").write_text(json.dumps(described))
    begin = ["model=from_path", f"model.path={tmp_path}"]
    require_consistent(compose_training(begin), 1)
    with pytest.raises(InputError, match=r"model\.n_layers=9, but .*config\.json says"):
        require_consistent(compose_training([*begin, "model.n_layers=9"]), 1)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"is model\.path a model\?"):
        require_consistent(compose_training(begin), 1)


def test_the_run_directory_follows_the_configuration_but_not_its_free_keys() -> None:
    same = compose_training([]).run_dir
    free = ["train.steps=7", "tracking=none", "launch.processes=1", "evaluation.n_questions=1"]
    assert compose_training(free).run_dir == same
    assert compose_training(["optim.lr=1e-5"]).run_dir != same
    assert compose_training(["zero=stage1"]).run_dir != same


def test_relative_paths_become_absolute() -> None:
    files = ["data.files=[here.json]", "data.decontaminate=[asked.json,sample:zh,'hub:o/n:test']"]
    config = compose_training([*files, "model.path=./there", "evaluation.questions=ask.json"])
    assert config.data.files == [str(Path("here.json").absolute())]
    assert config.data.decontaminate == [
        str(Path("asked.json").absolute()),
        "sample:zh",
        "hub:o/n:test",
    ]
    assert config.model.path == str(Path("there").absolute())
    assert config.evaluation.questions == str(Path("ask.json").absolute())


def test_composing_imports_no_torch() -> None:
    code = (
        "import sys; from llama_gpt4.compose import compose_training; compose_training([]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
