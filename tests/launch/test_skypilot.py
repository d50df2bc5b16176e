"""The task file: what SkyPilot runs on every node, with the configuration in it."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from llama_gpt4_launch import skypilot

from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import as_yaml

from .places import only, place, require_golden, training

NODES = ("nodes=2", "accelerators=H100:8", "volume=shared")


def test_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, NCCL_DEBUG="INFO", WANDB_API_KEY="s3cr3t")
    setup = "setup=['pip install llama-gpt4']"
    config = place("skypilot", *NODES, setup, "environment.secrets=[WANDB_API_KEY]")
    text = skypilot.task(config, training())
    assert "s3cr3t" not in text
    task = yaml.safe_load(text)
    assert task["secrets"] == {"WANDB_API_KEY": None}
    first, last = text.index("END_OF_CONFIG'\n"), text.rindex("  END_OF_CONFIG\n")
    rest = f"{text[:first]}END_OF_CONFIG'\n  …\n{text[last:]}"  # any run's, with every key there is
    require_golden("launch_skypilot.yaml", rest)


def test_its_script_writes_the_configuration_and_starts_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skypilot, "CONFIG_FILE", str(tmp_path / "config.yaml"))
    config = place("skypilot", *NODES, "python=echo")
    script = yaml.safe_load(skypilot.task(config, training()))["run"]
    given = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NODE_RANK": "1"}
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, **given}, capture_output=True, text=True
    )
    assert (tmp_path / "config.yaml").read_text() == as_yaml(training())
    assert done.stdout.endswith("--master-address 10.0.0.1 --master-port 29500 --node-rank 1\n")


@pytest.mark.parametrize("accelerators", ["H100", "H100:0", "H100:x"])
def test_gpus_are_counted(accelerators: str) -> None:
    with pytest.raises(InputError, match=f"accelerators={accelerators} is not like H100:8"):
        place("skypilot", *NODES, f"accelerators={accelerators}")
