"""`llama-gpt4 train -m sweep.hostfile=…` on the two hosts of test_two_hosts.py.

pytest -m cluster tests/cluster        (root; apt-get install iproute2 openssh-server pdsh)
"""

import os
import signal
import subprocess
import time
from pathlib import Path

from ..command import CLI, ENVIRONMENT, metrics
from ..e2e import test_sweep as here
from .test_two_hosts import (
    IN_THE_FIRST,
    SCRIPT,
    alive,
    hosts,  # noqa: F401
    kill_the_second,
    nobody_is_left,
    pytestmark,  # noqa: F401
    record,
)

NETWORK = 'sweep.environment.variables=["GLOO_SOCKET_IFNAME=eth0","OMP_NUM_THREADS=1"]'


class Sweep:
    """`llama-gpt4 train -m …` on the first host, whose trials run on both."""

    def __init__(self, hostfile: Path, folder: Path, *words: str) -> None:
        line = [word for word in here.line(folder, *words) if word != "sweep.devices=2"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*IN_THE_FIRST, *CLI, *line, f"sweep.hostfile={hostfile}", NETWORK],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, path: Path) -> None:
        until = time.monotonic() + 200
        while not path.exists():
            assert self.process.poll() is None and time.monotonic() < until
            time.sleep(0.01)

    def ends(self) -> tuple[int, str]:
        output = self.process.communicate(timeout=400)[0]
        self.seconds = time.monotonic() - self.began
        return self.process.returncode, output


def test_a_sweep_on_two_hosts_survives_a_failure_and_a_kill(
    hosts: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    killed = "optim.lr=0.001,seed=2"
    run_dir = tmp_path / "sweep" / killed
    # Ranks look every two seconds whether their launcher wants them to stop.
    words = [*here.TRIALS, "train.steps=150", "train.save_every_steps=50"]
    first = Sweep(hosts, tmp_path, *words)
    first.wait_for(run_dir / "metrics.jsonl")
    os.kill(here.leader_of(run_dir), signal.SIGKILL)
    code, output = first.ends()
    assert code == 1, output
    rows = here.rows(tmp_path)
    not_finite = {name for name in rows if "lr=1e+30" in name}
    for name, row in rows.items():
        expected = "failed" if name in not_finite | {killed} else "done"
        assert row["status"] == expected, (name, row)
    assert all("not finite" in rows[name]["message"] for name in not_finite)
    assert rows[killed]["message"] == "its launcher was ended by SIGKILL"
    used = {line.split()[0] for name in rows for line in alive(tmp_path / "sweep" / name, "rank-")}
    assert used == {"worker-1", "worker-2"}
    record(f"| 6 trials, 2 diverging, 1 launcher killed | {first.seconds:.0f} |")

    code, output = (again := Sweep(hosts, tmp_path, *words)).ends()
    assert code == 2, "only those with a bad learning rate are left"
    assert output.count("done already") == 3
    assert "resuming after step" in (run_dir / "logs" / "launcher.log").read_text()
    statuses = {name: row["status"] for name, row in here.rows(tmp_path).items()}
    assert {name for name, status in statuses.items() if status == "done"} == (
        statuses.keys() - not_finite
    )
    assert [line["step"] for line in metrics(run_dir)] == [*range(1, 151)]
    assert nobody_is_left(1) and nobody_is_left(2)
    record(f"| the same line again | {again.seconds:.0f} |")


def test_a_trial_may_take_both_hosts(hosts: Path, tmp_path: Path) -> None:  # noqa: F811
    code, output = Sweep(hosts, tmp_path, "launch.processes=1,2").ends()
    assert code == 0, output
    small, large = (tmp_path / "sweep" / f"launch.processes={n}" for n in (1, 2))
    assert len(alive(small, "rank-")) == 1
    assert {line.split()[0] for line in alive(large, "rank-")} == {"worker-1", "worker-2"}
    pairs = zip(metrics(small), metrics(large), strict=True)
    assert max(abs(one["loss"] - two["loss"]) for one, two in pairs) <= 1e-6


def test_a_host_that_dies_takes_only_its_trial_with_it(
    hosts: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ["seed=1,2,3", "train.steps=60", "schedule.steps=60"]
    sweep = Sweep(hosts, tmp_path, *words)
    sweep.wait_for(tmp_path / "sweep" / "seed=2" / "metrics.jsonl")
    try:
        kill_the_second()
        code, output = sweep.ends()
    finally:
        subprocess.run([SCRIPT, "revive", hosts.parent], check=True)
    assert code == 1, output
    rows = here.rows(tmp_path)
    assert [rows[f"seed={n}"]["status"] for n in (1, 2, 3)] == ["done", "failed", "done"]
    lost = "host 10.77.0.2 is lost, its connection broke"
    assert rows["seed=2"]["message"].startswith(lost)
    assert "no trial goes there any more" in output
    code, output = Sweep(hosts, tmp_path, *words).ends()
    assert (code, output.count("done already")) == (0, 2), output
    assert here.rows(tmp_path)["seed=2"]["step"] == 60
    record(f"| 3 trials, a host killed | {sweep.seconds:.0f} | `{rows['seed=2']['message']}` |")
