"""`llama-gpt4 launch deepspeed` and `launch torchrun` on two hosts: network namespaces with an
address, a name and an sshd each, on one machine and so on one file system.

    pytest -m cluster tests/cluster        (root; apt-get install iproute2 openssh-server pdsh)

The two hosts end with the losses of one host, a host that is killed or unplugged in mid-training
ends the job with one line, and the next start resumes. What came out stands in
benchmarks/results/cluster.md; `LLAMA_GPT4_RECORD=file` appends the measured lines to a file.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from llama_gpt4_launch.watch import BEAT_SECONDS, END_SECONDS, LOST_BEATS, SUSPECT_SECONDS

from ..command import CLI, ENVIRONMENT, FAST, metrics, train

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are root's to make"),
    pytest.mark.skipif(shutil.which("pdsh") is None, reason="apt-get install pdsh"),
    pytest.mark.skipif(
        not Path("/usr/sbin/sshd").exists(), reason="apt-get install openssh-server"
    ),
]
SCRIPT = Path(__file__).with_name("two_hosts.sh")
SSH_SECONDS = 20.0
"""When ssh gives a silent connection up: after 3 questions, 5 seconds each."""
IN_THE_FIRST = ["ip", "netns", "exec", "llama1"]
STEPS = "train.steps=6"
VARIABLES = 'environment.variables=["GLOO_SOCKET_IFNAME=eth0","OMP_NUM_THREADS=1"]'
WAYS = {
    "deepspeed over ssh": ["deepspeed"],
    "deepspeed over pdsh": ["deepspeed", "transport=pdsh"],
    "torchrun static": ["torchrun"],
    "torchrun c10d": ["torchrun", "rendezvous=c10d"],
}


def record(line: str) -> None:
    """A measured line, for benchmarks/results/cluster.md."""
    if path := os.environ.get("LLAMA_GPT4_RECORD"):
        with open(path, "a") as file:
            file.write(f"{line}\n")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The hostfile of the two hosts, which are there while the tests run."""
    folder = tmp_path_factory.mktemp("hosts")
    subprocess.run([SCRIPT, "up", folder], check=True)
    hostfile = folder / "hostfile"
    hostfile.write_text("10.77.0.1 slots=1\n10.77.0.2 slots=1\n")
    yield hostfile
    subprocess.run([SCRIPT, "down", folder], check=True)


@pytest.fixture(scope="module")
def one_host(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of the same run on two processes of one host."""
    lines = train(tmp_path_factory.mktemp("one") / "run", STEPS)
    return [line["loss"] for line in lines]


class Job:
    """`llama-gpt4 launch …` on the first host."""

    def __init__(self, way: list[str], hostfile: Path, run_dir: Path, *overrides: str) -> None:
        self.run_dir = run_dir
        words = ["launch", way[0], f"hostfile={hostfile}", *way[1:], VARIABLES, "--"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*IN_THE_FIRST, *CLI, *words, *FAST, f"run_dir={run_dir}", *overrides],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_until(self, condition: Callable[[], bool], seconds: float = 240) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < until, "it did not come so far"
            time.sleep(0.1)

    def has_saved(self) -> bool:
        return any((self.run_dir / "checkpoints").glob("step-*")) and (
            len(metrics(self.run_dir)) >= 4
        )

    def ends(self, seconds: float) -> tuple[int, list[str]]:
        """Its code, and our lines about the end."""
        self.output = self.process.communicate(timeout=seconds)[0]
        lines = self.output.replace("\r", "\n").splitlines()
        return self.process.returncode, [line for line in lines if "llama-gpt4 " in line]


def processes(host: int) -> dict[int, str]:
    """Command lines on a host, without its sshd."""
    listed = subprocess.run(["ip", "netns", "pids", f"llama{host}"], capture_output=True, text=True)
    found = {}
    for pid in map(int, listed.stdout.split()):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if line and "sshd" not in line.partition(" ")[0]:
            found[pid] = line
    return found


def nobody_is_left(host: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not processes(host):
            return True
        time.sleep(0.2)
    print(processes(host))
    return False


def kill_the_second() -> None:
    """As a crash of the machine looks to those that stay connected: everything is gone at once."""
    listed = subprocess.run(["ip", "netns", "pids", "llama2"], capture_output=True, text=True)
    for pid in map(int, listed.stdout.split()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def unplug_the_second() -> None:
    """As a power cut looks: no connection is closed, there is only silence."""
    subprocess.run(["ip", "-n", "llama2", "link", "set", "eth0", "down"], check=True)
    kill_the_second()


@pytest.mark.parametrize("way", WAYS)
def test_two_hosts_end_with_the_losses_of_one(
    way: str, hosts: Path, one_host: list[float], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    job = Job(WAYS[way], hosts, run_dir, STEPS)
    code, lines = job.ends(300)
    assert (code, lines) == (0, []), job.output
    assert "2 x cpu, ZeRO-3" in job.output
    losses = [line["loss"] for line in metrics(run_dir)]
    worst = max(abs(a - b) for a, b in zip(losses, one_host, strict=True))
    seconds = time.monotonic() - job.began
    record(f"| {way} | {losses[-1]:.6f} | {one_host[-1]:.6f} | {worst:.1e} | {seconds:.0f} |")
    assert worst <= 1e-6
    assert {line.rpartition(" ")[0] for line in alive(run_dir, "rank-")} == {"worker-1", "worker-2"}
    assert nobody_is_left(1) and nobody_is_left(2)


def alive(run_dir: Path, start: str) -> list[str]:
    return [path.read_text() for path in (run_dir / ".alive").glob(f"{start}*")]


@pytest.mark.parametrize(
    "way, end, within",
    [
        ("deepspeed over ssh", kill_the_second, END_SECONDS),
        ("deepspeed over ssh", unplug_the_second, SSH_SECONDS + END_SECONDS),
        ("deepspeed over pdsh", kill_the_second, SUSPECT_SECONDS + END_SECONDS),
        ("deepspeed over pdsh", unplug_the_second, LOST_BEATS * BEAT_SECONDS + END_SECONDS),
        ("torchrun c10d", kill_the_second, END_SECONDS),
    ],
)
def test_a_lost_host_ends_the_job_and_the_next_start_resumes(
    way: str, end: Callable[[], None], within: float, hosts: Path, tmp_path: Path
) -> None:
    run_dir, long = tmp_path / "run", ["schedule.steps=5000", "train.save_every_steps=2"]
    job = Job(WAYS[way], hosts, run_dir, *long, "train.steps=5000")
    job.wait_until(job.has_saved)
    try:
        began = time.monotonic()
        end()
        code, lines = job.ends(within + 60)
        seconds = time.monotonic() - began
    finally:
        subprocess.run([SCRIPT, "revive", hosts.parent], check=True)
    record(f"| {way}, {end.__name__} | {seconds:.0f} | {within:.0f} | `{' '.join(lines)}` |")
    assert code == 1
    [line] = lines
    assert "llama-gpt4 train: host " in line and " lost" in line  # pdsh puts a host before it
    assert "10.77.0.2" in line or "worker-2 (rank 1)" in line
    assert "Traceback" not in job.output or way.startswith("torchrun")  # which has one of its own
    # Besides what is stated: DeepSpeed's and torchrun's own launchers take a while to leave.
    assert seconds < within + 15
    assert nobody_is_left(1)
    stopped = metrics(run_dir)[-1]["step"]
    again = Job(WAYS[way], hosts, run_dir, *long, f"train.steps={stopped + 2}")
    code, lines = again.ends(300)
    assert (code, lines) == (0, []), again.output
    assert "resuming after step" in again.output
    assert metrics(run_dir)[-1]["step"] == stopped + 2


def test_sigterm_saves_on_all_hosts(hosts: Path, tmp_path: Path) -> None:
    job = Job(WAYS["deepspeed over ssh"], hosts, tmp_path / "run", "train.steps=5000")
    job.wait_until(lambda: (tmp_path / "run/metrics.jsonl").exists())
    job.process.send_signal(signal.SIGTERM)
    code, [line] = job.ends(60)
    assert code == 75
    assert "saved step" in line
    assert any((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert nobody_is_left(1) and nobody_is_left(2)


def test_a_host_that_cannot_be_reached_is_named_before_anything_starts(
    hosts: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "hostfile"
    wrong.write_text("10.77.0.1 slots=1\n10.77.0.9 slots=1\n")
    job = Job(["deepspeed"], wrong, tmp_path / "run", STEPS)
    code, [line] = job.ends(60)
    assert code == 2
    assert line.startswith("llama-gpt4 launch: 10.77.0.9 ")
    assert "10.77.0.1 " not in line
    assert not (tmp_path / "run").exists()
