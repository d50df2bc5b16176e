"""A sweep of real trainings: one fails, one is killed, the next start finishes the rest."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ..command import CLI, ENVIRONMENT, FAST, llama_gpt4, metrics

pytestmark = pytest.mark.e2e

TRIALS = ("optim.lr=1e-3,3e-3,1e30", "seed=1,2")


def line(folder: Path, *words: str) -> list[str]:
    return [
        "train",
        "-m",
        *FAST,
        f"sweep.dir={folder / 'sweep'}",
        f"data.cache_dir={folder / 'cache'}",
        "launch.processes=1",
        "sweep.devices=2",
        "train.steps=4",
        "train.save_every_steps=1",
        *words,
    ]


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    table = json.loads((folder / "sweep" / "sweep.json").read_text())
    return {row["name"]: row for row in table}


def leader_of(run_dir: Path) -> int:
    """The process that our launcher is for a trial."""
    wanted = ["--resolved", str(run_dir / "config.yaml")]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = folder.joinpath("cmdline").read_text().split("\0")
        except OSError:  # it has ended meanwhile
            continue
        if "llama_gpt4_launch.cli" in words and words[-3:-1] == wanted:
            return int(folder.name)
    raise AssertionError(f"nothing trains in {run_dir}")


@pytest.mark.slow
def test_a_sweep_survives_a_failure_and_a_kill(tmp_path: Path) -> None:
    killed = "optim.lr=0.001,seed=2"
    run_dir = tmp_path / "sweep" / killed
    with open(tmp_path / "out", "w") as log:
        start = subprocess.Popen(
            [*CLI, *line(tmp_path, *TRIALS)], env=ENVIRONMENT, stdout=log, stderr=log
        )
    end = time.monotonic() + 200
    while not (run_dir / "metrics.jsonl").exists():
        assert start.poll() is None and time.monotonic() < end, (tmp_path / "out").read_text()
        time.sleep(0.01)
    os.kill(leader_of(run_dir), signal.SIGKILL)
    assert start.wait(200) == 1
    first = rows(tmp_path)
    assert len(first) == 6
    not_finite = {name for name in first if "lr=1e+30" in name}
    for name, row in first.items():
        expected = "failed" if name in not_finite | {killed} else "done"
        assert row["status"] == expected, (name, row)
    assert all("not finite" in first[name]["message"] for name in not_finite)
    assert first[killed]["message"] == "its launcher was ended by SIGKILL"
    assert first[killed]["step"] < 4

    again = llama_gpt4(*line(tmp_path, *TRIALS))
    assert again.returncode == 2, "only those with a bad learning rate are left"
    assert again.stdout.count("done already") == 3
    assert "resuming after step" in (run_dir / "logs" / "launcher.log").read_text()
    second = rows(tmp_path)
    assert {name for name, row in second.items() if row["status"] == "done"} == (
        second.keys() - not_finite
    )
    assert [m["step"] for m in metrics(run_dir)] == [1, 2, 3, 4]
    assert (run_dir / "model" / "config.json").exists()
    assert len(list((tmp_path / "cache").glob("*/meta.json"))) == 1, "one token cache for all"
    best = min(row["value"] for row in second.values() if row["status"] == "done")
    assert again.stdout.index(f"{best:.4f}") < again.stdout.index("failed  ")


SWEEPER = """
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class Halving(Sweeper):
    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        # The next seed is the loss of the trial before, in thousandths.
        seed = 1
        for index in range(2):
            [job] = self.launcher.launch([[*arguments, f"seed={seed}"]], initial_job_idx=index)
            seed = round(1000 * job.return_value)


ConfigStore.instance().store(
    group="hydra/sweeper", name="halving", node={"_target_": "hydra_plugins.halving.Halving"}
)
"""


def test_any_sweeper_gets_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = tmp_path / "path" / "hydra_plugins"
    plugins.mkdir(parents=True)
    (plugins / "halving.py").write_text(SWEEPER)
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(plugins.parent))
    done = llama_gpt4(*line(tmp_path, "hydra/sweeper=halving", "train.steps=1"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(tmp_path)
    assert found.keys() == {"seed=1", f"seed={round(1000 * found['seed=1']['value'])}"}
