"""`--help` and `--cfg`: every key with its meaning, what a line comes to, no torch for either."""

import subprocess
import sys
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import pytest
import yaml

from llama_gpt4.config import TrainConfig
from llama_gpt4.help import wants_help


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


def test_cfg_of_a_wrong_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        wants_help("train", TrainConfig, ["--cfg", "experiment=nothing"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "experiment=nothing does not exist" in line


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
