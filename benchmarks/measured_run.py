"""x"""


@dataclass(frozen=True)
class Run:
    """One run of one side, from the end of the last warm-up step to the end of the last step."""

    side: str
    repeat: int
    tokens: int
    seconds: float
    cpu_seconds: float
    """Summed over the ranks."""
    peak_bytes: int
    """Largest resident memory of any rank since it began."""
    first_loss: float
    load: float
    """One-minute load average before the run: what others did on the machine."""

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def tokens_per_cpu_second(self) -> float:
        return self.tokens / self.cpu_seconds


def run_side(side: Side, repeat: int, folder: Path, arguments: argparse.Namespace) -> Run:
    """Start the ranks of one run, and measure them step by step."""
    steps = arguments.warmup_steps + arguments.steps
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    if side.settings is None:
        command = [sys.executable, "-m", "llama_gpt4.train", *our_overrides(folder)]
        command += [f"run_dir={run_dir}", f"train.steps={steps}"]
    else:
        command = [arguments.peer_python, str(HERE / "peer_trl.py"), *peer_options(side, folder)]
        command += ["--run-dir", str(run_dir), "--steps", str(steps)]
    load = os.getloadavg()[0]
    with open(run_dir / "output", "w") as output:
        ranks = [
            subprocess.Popen(
                command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )
            for environment in environments()
        ]
        try:
            stamps = list(stamped_lines(run_dir / "metrics.jsonl", ranks))
            codes = [rank.wait() for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
    if any(codes) or len(stamps) != steps:
        raise RuntimeError(f"{side.name} failed:\n" + (run_dir / "output").read_text()[-3000:])
    (first_line, *_), (_, began, cpu_began, _) = stamps[0], stamps[arguments.warmup_steps - 1]
    measured = stamps[arguments.warmup_steps :]
    _, ended, cpu_ended, peak_bytes = measured[-1]
    return Run(
        side=side.name,
        repeat=repeat,
        tokens=int(sum(line["tokens"] for line, *_ in measured)),
        seconds=ended - began,
        cpu_seconds=cpu_ended - cpu_began,
        peak_bytes=peak_bytes,
        first_loss=first_line["loss"],
        load=load,
    )


def environments() -> Iterator[dict[str, str]]:
    """What a launcher would tell each rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for rank in range(RANKS):
        yield os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(RANKS),
            "LOCAL_WORLD_SIZE": str(RANKS),
            "LOCAL_SIZE": str(RANKS),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(Path(tempfile.gettempdir()) / "train_cpu_datasets"),
        }


def stamped_lines(
    path: Path, ranks: list[subprocess.Popen[bytes]]
) -> Iterator[tuple[dict[str, Any], float, float, int]]:
    """Each training line with the time, the ranks' CPU seconds and their largest memory so far."""
    n_read = 0
    while all(rank.poll() in (None, 0) for rank in ranks):
        text = path.read_text() if path.exists() and path.stat().st_size > n_read else ""
        lines = [json.loads(line) for line in text[n_read:].splitlines(keepends=True)]
        n_read = max(n_read, len(text))
        for line in lines:
            if "loss" in line:
                yield line, time.perf_counter(), cpu_seconds(ranks), peak_bytes(ranks)
        if all(rank.poll() == 0 for rank in ranks):
            return
        time.sleep(POLL_SECONDS)


def cpu_seconds(ranks: list[subprocess.Popen[bytes]]) -> float:
    ticks = 0
    for rank in ranks:
        fields = Path(f"/proc/{rank.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_bytes(ranks: list[subprocess.Popen[bytes]]) -> int:
    """`VmHWM`, the kernel's own record of a process's largest resident memory."""
    peaks = []
    for rank in ranks:
        status = Path(f"/proc/{rank.pid}/status").read_text()
        peaks.append(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
    return max(peaks)


