"""`llama-gpt4 launch slurm … -- -m …`: the trials of a sweep as the tasks of a job array.

Once they are submitted they are Slurm's, and nobody has to stay: it packs them on its nodes, ends
those that hang at their time limit, and each goes back into the queue by itself when it was
preempted. The same line again submits what is neither done nor in the queue, and shows the table.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import require
from llama_gpt4.files import write_json
from llama_gpt4.prepare import cache_key
from llama_gpt4.program import ExitReport, show
from llama_gpt4_launch import slurm
from llama_gpt4_launch.slurm import Job, SlurmConfig
from llama_gpt4_launch.start import prepare_run
from llama_gpt4_launch.sweep_config import SweepConfig
from llama_gpt4_launch.sweep_report import table
from llama_gpt4_launch.sweep_trial import FINAL, Status, Trial

UNDER_WAY = ("RUNNING", "COMPLETING")


class SlurmArray:
    """A cluster's queue as the place of trials."""

    def __init__(
        self,
        config: SlurmConfig,
        sweep: SweepConfig,
        sweep_dir: Path,
        is_print: bool,
        report: ExitReport,
    ) -> None:
        for key in ("devices", "hostfile", "median_after_steps"):
            require(
                getattr(sweep, key) is None,
                f"sweep.{key}={getattr(sweep, key)} is for trials that `llama-gpt4 train -m` "
                "leads; for those of Slurm there is array_limit=…",
            )
        self.starts = not is_print
        self._config, self._dir, self._report = config, sweep_dir, report
        self._left: list[Trial] = []
        if self.starts:
            slurm.check(config)

    def processes(self, configs: Sequence[RunConfig]) -> list[int]:
        return [self._config.nodes * self._config.processes_per_node] * len(configs)

    def ready(self, trials: Sequence[Trial]) -> None:
        """Find those that have to be submitted; freeze them, and prepare their data."""
        tasks = self._tasks()
        states = _queue() if tasks else {}
        for trial in trials:
            trial.curve.update()
            state = states.get(tasks.get(trial.name, ""))
            if state is not None:
                trial.status = Status.RUNNING if state in UNDER_WAY else Status.WAITING
        self._left = [trial for trial in trials if tasks.get(trial.name) not in states]
        if not self.starts:
            return
        for trial in self._left:
            trial.freeze()
        for config in {cache_key(trial.config): trial.config for trial in self._left}.values():
            os.close(prepare_run(config, self._report))
        self._report.run_dir = None  # how the trials end is for their jobs to say

    def run(self, trials: Sequence[Trial], on_change: Callable[[Trial], None]) -> None:
        """Submit what is left, or show what would be submitted."""
        job = self._job()
        if not self.starts:
            text = slurm.script(self._config, job) if self._left else ""
            return show(text + "".join(f"# {line}\n" for line in table(trials).splitlines()))
        if self._left:
            number = slurm.submit(self._config, job)
            tasks = {trial.name: f"{number}_{index}" for index, trial in enumerate(self._left)}
            self._remember(self._tasks() | tasks)
            for trial in self._left:
                trial.status, trial.message = Status.WAITING, ""
            print(f"job {number}: {len(self._left)} trials, output in {self._dir / 'logs'}")
        if any(trial.status not in FINAL for trial in trials):
            print("the same line shows how they are, and submits again what has failed")

    def _job(self) -> Job:
        return Job(
            name=self._dir.name,
            folder=self._dir,
            run_dirs=[str(trial.run_dir) for trial in self._left],
            is_array=True,
            needs_gpus=any(trial.config.launch.device != "cpu" for trial in self._left),
        )

    def _tasks(self) -> dict[str, str]:
        """The last task of each trial that was ever submitted, as squeue calls it."""
        path = self._dir / "slurm.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def _remember(self, tasks: dict[str, str]) -> None:
        write_json(self._dir / "slurm.json", tasks)


def _queue() -> dict[str, str]:
    """The state of each of the user's tasks that Slurm still has."""
    if shutil.which("squeue") is None:  # only --print comes so far without
        return {}
    command = ["squeue", "--me", "--noheader", "--array", "--format=%F_%K %T"]
    asked = subprocess.run(command, capture_output=True, text=True)
    require(
        asked.returncode == 0,
        f"squeue does not answer: {' '.join(asked.stderr.split())}; try later",
    )
    return dict(line.split() for line in asked.stdout.splitlines())
