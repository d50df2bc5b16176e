"""Names of models: a folder is itself, a hub name is its snapshot, anything else is one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.hub import local_snapshot

PROGRAM = """
import sys
from llama_gpt4.errors import InputError
from llama_gpt4.hub import local_snapshot
assert "huggingface_hub" not in sys.modules
try:
    print(local_snapshot(sys.argv[1]))
except InputError as error:
    print("InputError:", error)
assert "torch" not in sys.modules
"""


@pytest.fixture
def ask_the_hub(tmp_path):
    """`local_snapshot` in a process whose hub is the cache below tmp_path and nothing else."""

    def ask(name, **environment):
        offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, name],
            env=os.environ | offline | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return ask


def test_a_folder_is_itself(tmp_path, monkeypatch):
    assert local_snapshot(str(tmp_path)) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_snapshot("~") == tmp_path


def test_a_folder_comes_before_a_hub_name(tmp_path, monkeypatch):
    (tmp_path / "owner" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert local_snapshot("owner/model") == Path("owner/model")


@pytest.mark.parametrize("path", ["/not/there", "./model", "../model", "~/model-x", "a/b/c"])
def test_a_path_that_is_not_there_is_not_asked_of_the_hub(path):
    with pytest.raises(InputError) as caught:
        local_snapshot(path)
    assert str(caught.value) == f"model.path={path} does not exist"


def test_a_file_is_not_a_model(tmp_path):
    path = tmp_path / "model.safetensors"
    path.touch()
    with pytest.raises(InputError) as caught:
        local_snapshot(str(path), key="tokenizer.path")
    assert str(caught.value) == (f"tokenizer.path={path} is a file: name the folder that it is in")


def test_a_downloaded_model_needs_no_network(ask_the_hub, tmp_path):
    repository = tmp_path / "hub" / "models--owner--model"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    assert ask_the_hub("owner/model") == str(snapshot)


def test_a_model_that_is_neither_here_nor_there(ask_the_hub):
    said = ask_the_hub("owner/model")
    assert said.startswith(
        "InputError: model.path=owner/model is neither a folder nor a model that the hub gives us: "
    )
    assert "\n" not in said


def test_a_hub_that_cannot_be_reached(ask_the_hub):
    said = ask_the_hub("owner/model", HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:9")
    assert "neither a folder nor a model" in said and "\n" not in said


def test_a_name_that_the_hub_cannot_have(ask_the_hub):
    assert "neither a folder nor a model" in ask_the_hub("not a name")
