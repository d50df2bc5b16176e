"""Composition: what a user types, and the one line that answers a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llama_gpt4.architecture import from_sizes
from llama_gpt4.compose import (
    compose_training,
    config_hash,
    freeze,
    load_resolved,
    quoted,
    require_consistent,
)
from llama_gpt4.errors import InputError


def test_the_default_is_the_tiny_experiment() -> None:
    config = compose_training([])
    assert config.name == "tiny"
    assert config.rows_per_step * config.data.row_tokens == config.batch.tokens_per_step


@pytest.mark.parametrize(
    "override, message",
    [
        ("optim.lrr=1", "optim.lrr is not a key of this program; did you mean optim.lr?"),
        ("lr=1", "lr is not a key of this program; did you mean optim.lr?"),
        ("+sed=1", "sed is not a key of this program; did you mean seed?"),
        ("optim.lr=abc", "optim.lr: value 'abc' of type 'str' could not be converted to Float"),
        ("model.n_layers=2.5", "model.n_layers: value '2.5' of type 'float' could not be"),
        ("train.epochs=null", "train.epochs: incompatible value 'None' for field of type 'float'"),
        ("data.files=x.json", "data.files is a list: write data.files=[…]"),
        ("data.files=[]", "data.files is empty"),
        ("data.weights=2", "data.weights is a list: write data.weights=[…]"),
        ("data.weights=[1,x]", "data.weights[1]: value 'x' of type 'str' could not be converted"),
        ("data.weights=[1]", "data.weights=[1.0] for 2 data.files"),
        ("data.files=[{a: x, a: y}]", "data.files has the name a twice: give each one of its own"),
        ("answer=endpoint", "answer is not a key of this program"),
        ("experiment=alpaca7b", "did you mean experiment=alpaca_7b?"),
        ("zero.deepspeed=[x]", "zero.deepspeed is a mapping: write zero.deepspeed={name: …}"),
        ("zero.deepspeed=x", "zero.deepspeed is a mapping: write zero.deepspeed={name: …}"),
        ("zero=stage9", "zero=stage9 does not exist: there are hpz, offload, stage0"),
        ("optim.lr=-1", "optim.lr=-1.0 must be positive"),
        ("a b", "cannot read the override 'a b'"),
        ("model=from_path", "model.path has no value"),
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


@pytest.mark.parametrize(
    "override, shown",
    [
        ("name=问题 [", "'name=问题 ['"),
        ("run_dir=数据,其他", "'run_dir=数据,其他'"),
        ("+seed=数", "'seed=数'"),
        ("nothing.at.all=数", "nothing.at.all is not a key"),
    ],
)
def test_a_message_shows_what_was_typed(override: str, shown: str) -> None:
    with pytest.raises(InputError) as error:
        compose_training([override])
    assert shown in str(error.value) and '"问题"' not in str(error.value)


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


def test_a_frozen_configuration_reads_back_the_same(tmp_path: Path) -> None:
    config = compose_training([f"run_dir={tmp_path}/run", "experiment=gpt4llm_release"])
    assert load_resolved(freeze(config)) == config


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


def test_the_hash_counts_what_decides_the_weights() -> None:
    assert config_hash(compose_training([])) != config_hash(compose_training(["seed=1"]))


def test_composing_imports_no_torch() -> None:
    code = (
        "import sys; from llama_gpt4.compose import compose_training; compose_training([]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_file_names_may_be_chinese_or_hold_blanks() -> None:
    config = compose_training(["data.files=[数据/问题.json,\"a b.json\",'c,d.json',plain.json]"])
    names = [Path(file).name for file in config.data.files]
    assert names == ["问题.json", "a b.json", "c,d.json", "plain.json"]


@pytest.mark.parametrize("text", ["it's, here", "a=b [c] {d}", "中文 名"])
def test_any_text_may_be_a_value(text: str) -> None:
    assert compose_training([f"name={quoted(text)}"]).name == text
