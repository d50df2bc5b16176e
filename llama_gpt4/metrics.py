"""What a run writes about itself: `metrics.jsonl`, Weights & Biases, and the progress bar."""

import json
import os
import queue
import resource
import secrets
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from llama_gpt4.config import TrainConfig
from llama_gpt4.ranks import Ranks

PEAK_BF16_FLOPS = {
    "V100": 125e12,  # NVIDIA V100 datasheet; half precision, it has no bfloat16
    "A100": 312e12,  # NVIDIA A100 datasheet, dense
    "H100 PCIe": 756e12,  # NVIDIA H100 datasheet, dense
    "H100": 989e12,
    "H200": 989e12,  # NVIDIA H200 datasheet, dense
}


def peak_flops(device: torch.device) -> float | None:
    """Dense 16-bit FLOP/s of a known GPU by its makers' datasheet; None for anything else."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for key, flops in PEAK_BF16_FLOPS.items() if key in name), None)


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory held so far: allocated on the GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Metrics:
    """Rank 0's pen: each line goes to `metrics.jsonl`, the progress bar and the tracker.

    On other ranks it writes nothing.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks, start: int, stop: int) -> None:
        self._file = self._bar = self._tracker = None
        if ranks.rank != 0:
            return
        run_dir = Path(config.run_dir)
        _forget_after(run_dir / "metrics.jsonl", start)
        self._file = open(run_dir / "metrics.jsonl", "a", buffering=1)
        # A log file gets a line now and then, a terminal a bar that moves.
        seconds = 1 if sys.stderr.isatty() else 15
        self._bar = tqdm(
            initial=start, total=stop, unit="step", desc=config.name, mininterval=seconds
        )
        if config.tracking.kind == "wandb":
            self._tracker = WandbTracker(config)

    def write(self, line: dict[str, Any]) -> None:
        """One line of metrics; `step` counts the optimizer steps done."""
        if self._file is None:
            return
        assert self._bar is not None
        self._file.write(json.dumps(line) + "\n")
        shown = {key: f"{line[key]:.4g}" for key in ("loss", "eval_loss") if key in line}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(line["step"] - self._bar.n)
        if self._tracker is not None:
            self._tracker.log(line)

    def close(self) -> None:
        if self._file is None:
            return
        assert self._bar is not None
        self._bar.close()
        self._file.close()
        if self._tracker is not None:
            self._tracker.close()


class WandbTracker:
    """Weights & Biases behind a queue: the training never waits for it, and never fails with it.

    Without a login it runs offline in `run_dir/wandb`. The run's id is kept in the run directory, so
    a restart continues the same run.
    """

    CLOSE_SECONDS = 30.0

    def __init__(self, config: TrainConfig) -> None:
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(config,), daemon=True)
        self._thread.start()

    def log(self, line: dict[str, Any]) -> None:
        self._lines.put(line)

    def close(self) -> None:
        """Send what is queued, for `CLOSE_SECONDS` at most."""
        self._lines.put(None)
        self._thread.join(self.CLOSE_SECONDS)

    def _run(self, config: TrainConfig) -> None:
        import wandb

        run = _start(wandb, config)
        while (line := self._lines.get()) is not None:
            run.log({key: value for key, value in line.items() if key != "step"}, step=line["step"])
        run.finish(quiet=True)


def _start(wandb: Any, config: TrainConfig) -> Any:
    run_dir = Path(config.run_dir)
    id_file = run_dir / "wandb_id"
    if not id_file.exists():
        id_file.write_text(secrets.token_hex(4))

    def start(mode: str) -> Any:
        return wandb.init(
            project=config.tracking.project,
            group=config.tracking.group,
            name=run_dir.name,
            id=id_file.read_text().strip(),
            resume="allow",
            dir=run_dir,
            mode=mode,
            config=asdict(config),
            settings=wandb.Settings(silent=True, console="off", init_timeout=30),
        )

    if not _is_logged_in():
        return start("offline")
    try:
        return start("online")
    except wandb.errors.CommError:
        return start("offline")


def _is_logged_in() -> bool:
    """Whether W&B would find a key by itself; asking the library could ask the user."""
    if os.environ.get("WANDB_MODE", "online") in ("offline", "disabled"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return netrc.exists() and "wandb" in netrc.read_text(errors="replace")


def _forget_after(path: Path, step: int) -> None:
    """Drop the lines of steps that a resumed run takes again."""
    if not path.exists():
        return
    kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
    aside = path.with_suffix(".partial")
    aside.write_text("".join(line + "\n" for line in kept))
    aside.replace(path)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:  # a line that was cut by a kill
        return float("inf")


