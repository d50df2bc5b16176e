"""A run that was stopped goes on as if it had not been: bit for bit on as many processes, within
rounding on others; by a signal, by the end of its steps, and past a damaged checkpoint."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from llama_gpt4.samples import read_samples

from ..command import CLI, ENVIRONMENT, FAST, llama_gpt4, metrics, train

pytestmark = pytest.mark.distributed

SAVE = "train.save_every_steps=3"
ASK = ("evaluation.questions=sample:zh", "evaluation.n_questions=3", "evaluation.answer_tokens=6")
"""More questions than processes; the same weights must come of it."""


def losses(lines: list[dict[str, Any]]) -> list[float]:
    return [line["loss"] for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    train(run_dir, "train.steps=16")
    return run_dir


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, ended after 6 steps on 2 processes; two checkpoints are there."""
    run_dir = tmp_path_factory.mktemp("stopped") / "run"
    train(run_dir, "train.steps=6", SAVE, "train.keep_checkpoints=2", *ASK)
    return run_dir


def resumed(source: Path, target: Path, processes: int, *overrides: str) -> list[dict[str, Any]]:
    shutil.copytree(source, target)
    return train(target, "train.steps=16", *overrides, processes=processes)


def test_resumed_on_as_many_processes_it_is_equal_bit_for_bit(
    undisturbed: Path, stopped: Path, tmp_path: Path
) -> None:
    lines = resumed(stopped, tmp_path / "run", 2, *ASK)
    assert [line["step"] for line in lines] == list(range(1, 17))
    assert losses(lines) == losses(metrics(undisturbed))
    weights = "model/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (undisturbed / weights).read_bytes()
    first, last = compared(stopped), compared(tmp_path / "run")
    assert (first["steps"], last["steps"]) == (6, 16)
    start = [answer["before"] for answer in last["answers"]]
    assert start == [answer["before"] for answer in first["answers"]]
    assert start != [answer["after"] for answer in last["answers"]]


def compared(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "before_after.json").read_text())


@pytest.mark.parametrize("processes", [1, 4])
def test_resumed_on_other_numbers_of_processes_it_follows_to_rounding(
    undisturbed: Path, stopped: Path, tmp_path: Path, processes: int
) -> None:
    lines = resumed(stopped, tmp_path / "run", processes)
    for mine, theirs in zip(losses(lines), losses(metrics(undisturbed)), strict=True):
        assert abs(mine - theirs) < 1e-6 * theirs
    weights = load_file(tmp_path / "run" / "model" / "model.safetensors")
    for name, truth in load_file(undisturbed / "model" / "model.safetensors").items():
        error = float((weights[name] - truth).abs().max())
        assert error <= 1e-6 * max(1.0, float(truth.abs().max())), name


def test_one_process_becomes_two(undisturbed: Path, tmp_path: Path) -> None:
    train(tmp_path / "one", "train.steps=6", processes=1)
    lines = resumed(tmp_path / "one", tmp_path / "run", 2)
    for mine, theirs in zip(losses(lines), losses(metrics(undisturbed)), strict=True):
        assert abs(mine - theirs) < 1e-6 * theirs


def test_checkpoints_that_are_no_good_are_passed_over(
    undisturbed: Path, stopped: Path, tmp_path: Path
) -> None:
    """A flipped byte in step 6, a missing file in step 9, step 12 of another model, and step 15 cut
    off; step 3 is good."""
    run_dir = tmp_path / "run"
    shutil.copytree(stopped, run_dir)
    folder = run_dir / "checkpoints"
    for step in (9, 12):
        shutil.copytree(folder / "step-6", folder / f"step-{step}")
    (folder / "step-6").rename(folder / "step-15.partial")
    shutil.copytree(folder / "step-9", folder / "step-6")

    victim = folder / "step-6" / "rank-00001.safetensors"
    content = bytearray(victim.read_bytes())
    content[-100] ^= 1
    victim.write_bytes(content)
    (folder / "step-6.damaged" / "of-an-earlier-time").mkdir(parents=True)
    (folder / "step-9" / "rank-00000.safetensors").unlink()
    manifest = json.loads((folder / "step-12" / "manifest.json").read_text())
    manifest["architecture"]["hidden_size"] = 48
    (folder / "step-12" / "manifest.json").write_text(json.dumps(manifest))

    lines = train(run_dir, "train.steps=16")
    assert losses(lines) == losses(metrics(undisturbed))
    for rank in (0, 1):
        log = (run_dir / "logs" / f"rank-{rank}.log").read_text()
        skipped = [line for line in log.splitlines() if "skipping" in line]
        assert [line.split("checkpoints/")[1] for line in skipped][-3:] == [
            "step-12: it is of another model, hidden_size=48 and not 32",
            "step-9: rank-00000.safetensors is damaged or missing",
            "step-6: rank-00001.safetensors is damaged or missing",
        ]
        if rank == 0:
            assert "step-15.partial: it was not written to its end" in skipped[0]
    assert {path.name for path in folder.iterdir()} == {
        "step-16", "step-6.damaged", "step-9.damaged", "step-12.damaged",
    }  # fmt: skip


def test_sigterm_saves_and_the_same_command_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    command = [*CLI, "train", *FAST, f"run_dir={run_dir}", "train.steps=16"]
    # Slow enough to be caught in the middle: evaluation after every step.
    slow = ["train.eval_every_steps=1"]
    process = subprocess.Popen([*command, *slow, *ASK], env=ENVIRONMENT, stderr=subprocess.PIPE)
    wait_for_steps(run_dir, 3)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 75, error
    assert json.loads((run_dir / "exit.json").read_text())["code"] == 75
    saved = sorted(int(p.name[5:]) for p in (run_dir / "checkpoints").glob("step-*"))
    assert saved and saved[-1] == metrics(run_dir)[-1]["step"] < 16
    assert f"saved step {saved[-1]}" in error
    assert not (run_dir / "before_after.json").exists()
    start = [sample["answer"] for sample in read_samples(run_dir, 0)]
    lines = train(run_dir, "train.steps=16", *ASK)
    assert losses(lines) == losses(metrics(undisturbed))
    assert [answer["before"] for answer in compared(run_dir)["answers"]] == start


def test_a_finished_run_started_again_only_says_so(stopped: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(stopped, run_dir)
    shutil.rmtree(run_dir / "model")
    before = (run_dir / "metrics.jsonl").read_bytes()
    (run_dir / "before_after.json").unlink()
    train(run_dir, "train.steps=6", *ASK)
    assert (run_dir / "metrics.jsonl").read_bytes() == before
    assert compared(run_dir) == compared(stopped)
    assert (run_dir / "model" / "config.json").exists()


def test_other_data_under_the_same_configuration_are_refused(tmp_path: Path) -> None:
    records = [{"instruction": f"Say {n}.", "input": "", "output": str(n)} for n in range(40)]
    file = tmp_path / "records.json"
    file.write_text(json.dumps(records))
    train(tmp_path / "run", f"data.files=[{file}]", "train.steps=1", processes=1)
    records[0]["output"] = "nothing"
    file.write_text(json.dumps(records))
    again = llama_gpt4(
        "train", *FAST, f"run_dir={tmp_path}/run", f"data.files=[{file}]", "train.steps=2",
        "launch.processes=1",
    )  # fmt: skip
    assert again.returncode == 2
    assert "trained on other data" in again.stderr


def wait_for_steps(run_dir: Path, n: int, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (run_dir / "metrics.jsonl").exists() and len(metrics(run_dir)) >= n:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {n} steps in {seconds} s: {os.listdir(run_dir)}")


def test_a_disk_without_room_for_the_checkpoints_is_found_before_the_first_step(
    tmp_path: Path,
) -> None:
    refused = llama_gpt4(
        "train", *FAST, f"run_dir={tmp_path}/run", "train.keep_checkpoints=1000000000",
        "launch.processes=1",
    )  # fmt: skip
    assert refused.returncode == 2
    assert "GB free" in refused.stderr and "train.keep_checkpoints" in refused.stderr
    assert not (tmp_path / "run" / "checkpoints").exists()
