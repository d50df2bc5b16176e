"""Trials whose training is a few lines of Python in a real process of its own."""

import os
import sys
from pathlib import Path

import pytest
from llama_gpt4_launch import sweep_trial
from llama_gpt4_launch.sweep_trial import Trial

from llama_gpt4.compose import compose_training
from llama_gpt4.frozen_config import freeze

SCRIPT = """
import json, os, signal, subprocess, sys, time, yaml
config = yaml.safe_load(open(sys.argv[-1]))
def write(step, loss):
    with open(config["run_dir"] + "/metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": step, "loss": loss}) + "\\n")
def meet(*names):
    run_dir, last = config["run_dir"], time.time() + 60
    open(run_dir + "/began", "w").close()
    if run_dir[-1] in names:
        while not all(os.path.exists(run_dir[:-1] + name + "/began") for name in names):
            assert time.time() < last, "they do not run side by side"
            time.sleep(0.01)
"""


def trains_by(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """From here on trials run `code`, which knows `config`, `write(step, loss)`, and `meet(*names)`
    in which those whose names end so wait until all of them have begun."""
    for start in ("CLI", "LAUNCH"):
        monkeypatch.setattr(sweep_trial, start, (sys.executable, "-c", SCRIPT + code))


SSH = """#!/bin/bash
while [ "$1" = -o ]; do shift 2; done
if [ -e "{folder}/$1.lost" ]; then echo "no route to $1" >&2; exit 255; fi
exec bash -c "$2"
"""


def hosts_by(monkeypatch: pytest.MonkeyPatch, folder: Path, *lines: str) -> Path:
    """A hostfile of hosts that are this one, by an ssh that goes nowhere; a host is lost as soon as
    there is a file `<host>.lost` beside the hostfile."""
    client = folder / "bin" / "ssh"
    client.parent.mkdir()
    client.write_text(SSH.format(folder=folder))
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")
    hostfile = folder / "hosts"
    hostfile.write_text("".join(f"{line}\n" for line in lines))
    return hostfile


def trial(folder: Path, name: str = "optim.lr=0.1", processes: int = 1, *overrides: str) -> Trial:
    run_dir = folder / name
    config = compose_training([f"run_dir='{run_dir}'", *overrides])
    made = Trial(name=name, swept={"optim.lr": "0.1"}, config=config, processes=processes)
    freeze(config)
    return made
