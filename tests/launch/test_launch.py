"""The verb: what goes where, what is shown, and that nothing starts on bad input."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from llama_gpt4_launch import launch
from llama_gpt4_launch.launch import PLACES

from llama_gpt4.compose import compose_training
from llama_gpt4.frozen_config import freeze

from ..command import CLI, FAST


def said(capsys: pytest.CaptureFixture[str]) -> str:
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("argv, code", [([], 2), (["--help"], 0)])
def test_help_names_every_place(
    argv: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(argv) == code
    out = capsys.readouterr().out
    assert all(f"\n  {where} " in out for where in PLACES)


@pytest.mark.parametrize("where", [where for where in PLACES if PLACES[where][0]])
def test_every_place_has_help(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main([where, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"llama-gpt4 launch {where} [key=value …]\n")
    assert "\nenvironment.secrets: list[str]\n" in out


def test_the_values_of_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["slurm", "--cfg", "nodes=2", "processes_per_node=8"]) == 0
    assert capsys.readouterr().out.startswith("nodes: 2\nprocesses_per_node: 8\n")


def test_a_frozen_configuration_is_started_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = freeze(compose_training([*FAST, f"run_dir={tmp_path}/run", "seed=7"]))
    (tmp_path / "hosts").write_text("worker-1 slots=1\n")
    words = ["torchrun", f"hostfile={tmp_path}/hosts", "--print", "--", "--resolved", str(frozen)]
    assert launch.main(words) == 0
    assert f"--resolved {frozen}" in capsys.readouterr().out


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from llama_gpt4_launch import launch; launch.main(['slurm', '--help']); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_an_unknown_place_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["slrum"]) == 2
    assert "slrum is not a place; there are local, deepspeed" in said(capsys)
    assert launch.main(["slurm", "node=2"]) == 2
    assert "node is not a key of this program; did you mean nodes?" in said(capsys)
    assert launch.main(["slurm", "nodes=2"]) == 2
    assert "processes_per_node has no value" in said(capsys)
    assert launch.main(["local", "optim.lr=1"]) == 2
    assert "write `-- optim.lr=1`" in said(capsys)


def test_print_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hosts").write_text("worker-1 slots=1\nworker-2 slots=1\n")
    run = ["--print", "--", *FAST, f"run_dir={tmp_path}/run", f"data.cache_dir={tmp_path}/cache"]
    counts = ["nodes=2", "processes_per_node=1"]
    for where in (["deepspeed", f"hostfile={tmp_path}/hosts"], ["slurm", *counts], ["local"]):
        assert launch.main([*where, *run]) == 0
        assert f"--resolved {tmp_path}/run/config.yaml" in capsys.readouterr().out
    assert os.listdir(tmp_path) == ["hosts"]


def test_a_wrong_line_of_the_hostfile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hosts").write_text("worker-1 slots=1\nworker-2 slots\n")
    assert launch.main(["deepspeed", f"hostfile={tmp_path}/hosts", "--", "launch.device=cpu"]) == 2
    assert said(capsys).startswith(f"llama-gpt4 launch: {tmp_path}/hosts:2: ")


def test_a_contradiction_is_found_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hosts").write_text("nowhere.invalid slots=1\n")
    training = [f"run_dir={tmp_path}/run", "+zero.deepspeed.gradient_clipping=5.0"]
    assert launch.main(["deepspeed", f"hostfile={tmp_path}/hosts", "--", *training]) == 2
    assert "gradient_clipping=5.0 contradicts 1.0" in said(capsys)
    assert launch.main(["deepspeed", f"hostfile={tmp_path}/hosts", "--", training[0]]) == 2
    assert "nowhere.invalid cannot be reached" in said(capsys)
    assert os.listdir(tmp_path) == ["hosts"]


def test_storage_that_only_this_machine_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["nodes=2", "processes_per_node=1", "image=x", "volume_claim=x"]
    assert launch.main(["kubernetes", *options, "--", f"run_dir={tmp_path}/run"]) == 2
    assert "is not below mount_path=/shared" in said(capsys)


def test_local_is_train(tmp_path: Path) -> None:
    command = [*CLI, "launch", "local", "--", f"run_dir={tmp_path}/run", "optim.lrr=1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("llama-gpt4 train: optim.lrr is not a key of this program")


def test_other_places_start_single_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["deepspeed", "hostfile=hosts", "--", "-m", "seed=1,2"]) == 2
    assert "and `llama-gpt4 train -m …`, with sweep.hostfile=…" in said(capsys)
