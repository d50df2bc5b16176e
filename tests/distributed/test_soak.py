"""One training, killed, signalled and resized over and over, is the training nobody disturbed.

`make soak` runs it in full, thirty disturbances each; the shortened one is among the proofs.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from ..command import CLI, ENVIRONMENT, FAST, metrics
from .test_launchers import members, parent

pytestmark = pytest.mark.distributed

STEPS_OF_A_LIFE = 6
"""At most so many new steps are taken before the next disturbance."""
SIZES = [
    pytest.param(3, marks=pytest.mark.slow, id="shortened"),
    pytest.param(30, marks=pytest.mark.soak, id="full"),
]
DISTURBANCES = {
    "a rank is killed": (signal.SIGKILL, "rank"),
    "a rank is preempted": (signal.SIGTERM, "rank"),
    "a rank gets SIGUSR1": (signal.SIGUSR1, "rank"),
    "the launcher is killed": (signal.SIGKILL, "launcher"),
    "the launcher is preempted": (signal.SIGTERM, "launcher"),
    "the launcher gets SIGUSR1": (signal.SIGUSR1, "launcher"),
    "all are killed": (signal.SIGKILL, "all"),
}


class Soak:
    """A training of `steps` steps that lives several times."""

    def __init__(self, folder: Path, steps: int, seed: int) -> None:
        self.run_dir = folder / "run"
        self._notes = folder / "notes"
        self._notes.mkdir(parents=True)
        self._steps = steps
        self._chance = random.Random(seed)
        self._kinds = self._shuffled()
        self._lives = 0
        self.counts: Counter[str] = Counter()

    def _shuffled(self) -> Iterator[str]:
        """Kinds of disturbances without end, each as often as the others."""
        while True:
            yield from self._chance.sample(sorted(DISTURBANCES), len(DISTURBANCES))

    def live(self, processes: int, stage: int = 3, disturbed: bool = True) -> int:
        """Train on `processes` until something happens; the exit code."""
        self._lives += 1
        # At this step the next life may start, unless an unsaved one is lost.
        before = len(metrics(self.run_dir)) if (self.run_dir / "metrics.jsonl").exists() else 0
        process = subprocess.Popen(
            [*CLI, "train", *FAST, f"run_dir={self.run_dir}", f"launch.processes={processes}",
             f"zero=stage{stage}",
             f"train.steps={self._steps}", "train.save_every_steps=3",
             "train.keep_checkpoints=2"],
            env={
                **ENVIRONMENT,
                "PYTHONPATH": str(Path(__file__).parent / "observer"),
                "OBSERVED": str(self._notes / f"life-{self._lives:03d}"),
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        if disturbed:
            self._disturb(process, before + self._chance.randint(1, STEPS_OF_A_LIFE))
        output = process.communicate(timeout=300)[0]
        self._wait_for_all(process.pid)
        if not disturbed:
            assert process.returncode == 0, output
        assert "Traceback" not in output, output
        return process.returncode

    def _disturb(self, process: "subprocess.Popen[str]", step: int) -> None:
        kind = next(self._kinds)
        number, whom = DISTURBANCES[kind]
        until = time.monotonic() + 300
        # The lines of steps that will be taken again are still there when a life begins.
        while not self._notes_of(self._lives) or last_step(self.run_dir) < step:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until, "it takes no steps"
            time.sleep(0.01)
        steps = [line for line in whole_lines(self.run_dir) if "step_seconds" in line]
        time.sleep(self._chance.random() * steps[-1]["step_seconds"])
        self.counts[kind] += 1
        if whom == "all":
            os.killpg(process.pid, number)
        elif whom == "launcher":
            process.send_signal(number)
        else:
            os.kill(self._chance.choice(ranks_of(process.pid)), number)

    def _notes_of(self, life: int) -> list[Path]:
        return list(self._notes.glob(f"life-{life:03d}-*"))

    def _wait_for_all(self, session: int) -> None:
        until = time.monotonic() + 120
        while members(session):
            assert time.monotonic() < until, "processes are left"
            time.sleep(0.05)

    def taken(self) -> list[list[int]]:
        """The examples of each step, over all ranks, as the last life that took it has them."""
        found: dict[int, dict[str, list[int]]] = {}
        for path in sorted(self._notes.iterdir()):
            life = path.name.partition("-rank-")[0]
            for line in path.read_text().splitlines():
                note = json.loads(line)
                step = found.setdefault(note["step"], {})
                if life not in step:
                    step.clear()
                    step[life] = []
                step[life] += note["examples"]
        assert sorted(found) == list(range(self._steps)), "a step was left out"
        return [sorted(*step.values()) for _, step in sorted(found.items())]


def last_step(run_dir: Path) -> int:
    """The newest step in its metrics; 0 before the first."""
    return max((line["step"] for line in whole_lines(run_dir)), default=0)


def whole_lines(run_dir: Path) -> list[dict[str, Any]]:
    """Of its metrics, while the last one may still be written."""
    path = run_dir / "metrics.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def ranks_of(launcher: int) -> list[int]:
    """Process ids of the ranks that this launcher started."""
    found = []
    for pid in members(launcher):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        if b"\0RANK=" in environment and parent(pid) == launcher:
            found.append(pid)
    assert found
    return sorted(found)


@pytest.fixture(scope="module", params=SIZES)
def disturbances(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def calm(disturbances: int, tmp_path_factory: pytest.TempPathFactory) -> Soak:
    soak = Soak(tmp_path_factory.mktemp("calm"), steps_of(disturbances), seed=0)
    soak.live(2, disturbed=False)
    return soak


def steps_of(disturbances: int) -> int:
    """More than as many lives can take, of which each goes on until its disturbance is felt."""
    return disturbances * (STEPS_OF_A_LIFE + 4)


def test_on_as_many_processes_the_weights_are_those_of_an_undisturbed_run(
    calm: Soak, disturbances: int, tmp_path: Path
) -> None:
    soak = Soak(tmp_path, steps_of(disturbances), seed=disturbances)
    codes = Counter(soak.live(2) for _ in range(disturbances))
    soak.live(2, disturbed=False)
    print(dict(soak.counts), "exit codes", dict(codes))
    weights = "model/model.safetensors"
    assert (soak.run_dir / weights).read_bytes() == (calm.run_dir / weights).read_bytes()
    assert [line["loss"] for line in metrics(soak.run_dir)] == [
        line["loss"] for line in metrics(calm.run_dir)
    ]
    assert soak.taken() == calm.taken()


def test_on_other_numbers_of_processes_and_zero_stages_no_record_is_skipped_or_seen_twice(
    calm: Soak, disturbances: int, tmp_path: Path
) -> None:
    soak = Soak(tmp_path, steps_of(disturbances), seed=disturbances)
    chance = random.Random(disturbances)
    places = [(chance.choice((1, 2, 3, 4)), chance.choice((1, 2, 3))) for _ in range(disturbances)]
    codes = Counter(soak.live(processes, stage) for processes, stage in places)
    soak.live(2, disturbed=False)
    print(dict(soak.counts), "exit codes", dict(codes), "processes and stages", places)
    assert soak.taken() == calm.taken()
    for mine, theirs in zip(metrics(soak.run_dir), metrics(calm.run_dir), strict=True):
        assert mine["step"] == theirs["step"]
        assert abs(mine["loss"] - theirs["loss"]) < 1e-4 * theirs["loss"]
    found, truth = (load_file(s.run_dir / "model" / "model.safetensors") for s in (soak, calm))
    for name, weights in truth.items():
        error = float((found[name] - weights).abs().max())
        assert error <= 1e-3 * float(weights.abs().max()), name
