"""The sweep's own keys."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from llama_gpt4_launch import sweep_config
from llama_gpt4_launch.sweep_config import SweepConfig, SweepProgram

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError


@pytest.mark.parametrize("key", [field.name for field in fields(SweepConfig)])
def test_every_key_is_read(key: str) -> None:
    folder = Path(sweep_config.__file__).parent
    code = [p.read_text() for p in folder.glob("sweep*.py") if p.stem != "sweep_config"]
    assert re.search(rf"[cC]onfig\.{key}\b", "\n".join(code)), f"nothing reads sweep.{key}"


def test_a_named_sweep_says_what_is_swept() -> None:
    config = compose(SweepProgram, "sweep", ["sweep=learning_rate", "sweep.devices=4"]).sweep
    assert config.params == {"optim.lr": "5e-6,1e-5,2e-5,4e-5"}
    assert config.devices == 4
    assert config.median_after_steps is None, "nobody is stopped unless asked for"


@pytest.mark.parametrize(
    "override, words",
    [
        ("sweep.device=2", "sweep.device is not a key of this program; did you mean sweep.devices"),
        ("sweep.devices=0", r"sweep\.devices=0 must be positive"),
        ("sweep.hang_seconds=-1", r"sweep\.hang_seconds=-1.0 must be positive"),
        ("sweep.environment.variables=[API_KEY]", "environment.variables has API_KEY"),
        ("sweep.devices=two", r"sweep\.devices: "),
        ("sweep=grit", "sweep=grit does not exist: there are grid, learning_rate; did you mean"),
    ],
)
def test_a_bad_key_is_one_line(override: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        compose(SweepProgram, "sweep", [override])


def test_a_hostfile_says_itself_how_many() -> None:
    with pytest.raises(InputError, match=r"sweep\.devices=2 is for trials of this host"):
        compose(SweepProgram, "sweep", ["sweep.devices=2", "sweep.hostfile=hosts"])
