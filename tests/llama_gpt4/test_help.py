"""`--help` and `--cfg`: every key with its meaning, what a line comes to, no torch for either."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_type_hints

import pytest
import yaml

from llama_gpt4 import chat, export
from llama_gpt4.compose import compose_training
from llama_gpt4.config import TrainConfig
from llama_gpt4.help import wants_help

from ..command import CLI


def keys(schema: type, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    hints = get_type_hints(schema)
    for field in fields(schema):
        kind = hints[field.name]
        if is_dataclass(kind) and isinstance(kind, type):
            found |= keys(kind, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = kind
    return found


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_help_lists_every_key(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert wants_help("train", TrainConfig, ["optim.lr=1", asked])
    listed = [
        line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line[:1] != " "
    ]
    assert set(keys(TrainConfig)) <= set(listed)


def test_help_gives_meanings(capsys: pytest.CaptureFixture[str]) -> None:
    wants_help("train", TrainConfig, ["--help"])
    out = capsys.readouterr().out
    assert "optim.lr: float\n    Peak learning rate.\n" in out
    assert "train.steps: int | null\n    Where training stops" in out
    assert all(len(line) <= 100 for line in out.splitlines())


def test_cfg_prints_yaml_of_what_a_line_comes_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert wants_help("train", TrainConfig, ["--cfg", "experiment=alpaca_13b", "optim.eps=1e-7"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["name"] == "alpaca_13b"
    assert float(printed["optim"]["lr"]) == 1e-5
    assert float(printed["optim"]["eps"]) == 1e-7


def test_cfg_prints_what_a_run_would_freeze(capsys: pytest.CaptureFixture[str]) -> None:
    wants_help("train", TrainConfig, ["--cfg", "seed=3"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed == asdict(compose_training(["seed=3"]))


@pytest.mark.parametrize(
    "line", [["--cfg", "job", "seed=3"], ["seed=3", "--cfg=job"], ["seed=3", "--cfg"]]
)
def test_cfg_may_be_spelt_as_hydra_does(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert wants_help("train", TrainConfig, line)
    assert yaml.safe_load(capsys.readouterr().out)["seed"] == 3


@pytest.mark.parametrize(
    "line, message",
    [
        (["--cfg", "experiment=nothing"], "experiment=nothing does not exist"),
        (["--cfg", "optim.lr=-1"], "optim.lr=-1.0 must be positive"),
        (["--cfg", "train.steps=many"], "train.steps: value 'many'"),
        (["--cfg", "hydra"], "--cfg hydra would show Hydra's own settings"),
    ],
)
def test_cfg_of_a_wrong_line_is_one_line(
    line: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        wants_help("train", TrainConfig, line)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1


def test_cfg_of_the_other_programs(capsys: pytest.CaptureFixture[str]) -> None:
    export.main(["--cfg", "run_dir=r"])
    assert yaml.safe_load(capsys.readouterr().out)["run_dir"] == "r"
    chat.main(["--cfg", "job", "model=m, n", "prompt=What, now?"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["model"]["path"], printed["prompt"]) == ("m, n", "What, now?")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "--cfg"]])
def test_a_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*CLI, *arguments], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_anything_else_is_not_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert not wants_help("train", TrainConfig, ["optim.lr=1"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["train", "--cfg"],
        ["prepare", "--help"],
        ["answer", "--help"],
        ["chat", "--help"],
        ["export", "--help"],
        ["train", "optim.lrr=1"],
    ],
)
def test_no_torch_is_imported_for_it(arguments: list[str]) -> None:
    code = (
        "import sys; from llama_gpt4_launch.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'deepspeed', 'wandb'} & set(sys.modules); "
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
