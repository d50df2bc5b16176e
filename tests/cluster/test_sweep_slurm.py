"""`llama-gpt4 launch slurm … -- -m …`: a job array on the Slurm of test_slurm_nodes.py.

pytest -m cluster tests/cluster        (root; apt-get install slurm-wlm munge)
"""

import subprocess
import time
from pathlib import Path

from ..command import FAST, metrics
from ..e2e.test_sweep import rows
from .test_slurm_nodes import job, run_here, slurm, start_again, wait_until  # noqa: F401
from .test_slurm_nodes import pytestmark as pytestmark
from .test_two_hosts import record


def launch(folder: Path, *words: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """`llama-gpt4 launch slurm … -- -m …`, one process a trial."""
    place = ["nodes=1", "processes_per_node=1", 'environment.variables=["OMP_NUM_THREADS=1"]']
    own = [f"sweep.dir={folder / 'sweep'}", f"data.cache_dir={folder / 'cache'}"]
    done = run_here("launch", "slurm", *place, *options, "--", "-m", *FAST, *own, *words)
    return done.returncode, done.stdout + done.stderr


def number_of(output: str) -> str:
    [line] = [line for line in output.splitlines() if line.startswith("job ")]
    return line.split()[1].rstrip(":")


def in_queue(number: str) -> list[str]:
    command = ["squeue", "--noheader", "--array", f"--jobs={number}", "--format=%F_%K"]
    asked = subprocess.run(command, capture_output=True, text=True)
    return asked.stdout.split()  # Slurm has forgotten a job that is over: then it says nothing


def test_an_array_of_trials_each_requeued_and_submitted_again_by_itself(
    slurm: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ["optim.lr=1e-3,1e30", "seed=1,2", "train.steps=200"]
    code, output = launch(tmp_path, *words, options=("--print", "array_limit=2"))
    assert code == 0 and "#SBATCH --array=0-3%2\n" in output
    assert f"\n  {tmp_path}/sweep/optim.lr=0.001,seed=2\n" in output
    assert list(tmp_path.iterdir()) == []

    began = time.monotonic()
    code, output = launch(tmp_path, *words, options=("array_limit=2",))
    assert code == 0, output
    number = number_of(output)
    code, output = launch(tmp_path, *words, options=("array_limit=2",))
    assert code == 0 and "job " not in output, "all are in the queue"

    warned = tmp_path / "sweep" / "optim.lr=0.001,seed=1"
    wait_until(lambda: (warned / "metrics.jsonl").exists())
    # It goes on asking for a minute when a task of an array has ended meanwhile.
    warning = subprocess.Popen(["scancel", "--signal=USR1", f"{number}_0"])
    wait_until(lambda: job(f"{number}_0")["Restarts"] == "1")
    warning.kill()
    warning.wait()
    wait_until(lambda: in_queue(number) == [f"{number}_0"])
    assert [job(f"{number}_{task}")["Restarts"] for task in (1, 2, 3)] == ["0", "0", "0"]
    start_again(f"{number}_0")
    wait_until(lambda: in_queue(number) == [])
    seconds = time.monotonic() - began
    log = tmp_path / "sweep" / "logs" / f"slurm-{number}_0.out"
    assert "resuming after step" in log.read_text()
    assert metrics(warned)[-1]["step"] == 200

    code, output = launch(tmp_path, *words)
    assert code == 0 and output.count("done already") == 2
    again = number_of(output)
    assert f"job {again}: 2 trials" in output, "only those that failed"
    wait_until(lambda: in_queue(again) == [])
    code, output = launch(tmp_path, *words, options=("--print",))
    assert "#SBATCH --array=0-1\n" in output and "# failed  " in output
    assert output.count("of step 3 on rank 0 is not finite") == 2
    record(f"| array of 4 trials on 2 nodes, 2 diverging, 1 preempted | {seconds:.0f} |")


def test_once_all_are_done_the_same_line_shows_the_table(
    slurm: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ["seed=1,2", "train.steps=4"]
    code, output = launch(tmp_path, *words)
    assert code == 0, output
    number = number_of(output)
    wait_until(lambda: in_queue(number) == [])
    code, output = launch(tmp_path, *words)
    assert code == 0 and "job " not in output
    assert output.count("\ndone ") == 2 and "\nbest: seed=" in output
    table = rows(tmp_path)
    assert {row["step"] for row in table.values()} == {4}
    assert all(0 < row["seconds"] < 200 for row in table.values())
    assert len(list((tmp_path / "cache").glob("*/meta.json"))) == 1, "prepared once"
