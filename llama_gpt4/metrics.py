"""What a run writes about itself: `metrics.jsonl`, and what follows from it."""

import json
import resource
import sys
from pathlib import Path
from typing import Any, Self

import torch
from tqdm import tqdm

from llama_gpt4.config import RunConfig
from llama_gpt4.ranks import Ranks
from llama_gpt4.tracker import Tracker

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
    """Rank 0's pen: each line goes to `metrics.jsonl`, which the tracker follows, and to the bar.

    On other ranks it writes nothing. As a context it holds all of a run up to its exported model,
    and tells the tracker at its end whether there is one.
    """

    def __init__(self, config: RunConfig, ranks: Ranks, start: int, stop: int) -> None:
        self._file = self._bar = self._tracker = None
        if ranks.rank != 0:
            return
        run_dir = Path(config.run_dir)
        _forget_after(run_dir / "metrics.jsonl", start)
        self._file = (run_dir / "metrics.jsonl").open("a", buffering=1)
        # A log file gets a line now and then, a terminal a bar that moves.
        seconds = 1 if sys.stderr.isatty() else 15
        self._bar = tqdm(
            initial=start, total=stop, unit="step", desc=config.name, mininterval=seconds
        )
        if config.tracking.kind != "none":
            self._tracker = Tracker(config, start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if self._tracker is not None:
            self._tracker.close(has_model=kind is None)

    def write(self, line: dict[str, Any]) -> None:
        """One line of metrics; `step` counts the optimizer steps done."""
        if self._file is None:
            return
        assert self._bar is not None
        self._file.write(json.dumps(line) + "\n")
        shown = {key: f"{line[key]:.4g}" for key in ("loss", "eval_loss") if key in line}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(line["step"] - self._bar.n)

    def close(self) -> None:
        """After the last step."""
        if self._file is not None:
            assert self._bar is not None
            self._bar.close()
            self._file.close()


def _forget_after(path: Path, step: int) -> None:
    """Drop the lines of steps that a resumed run takes again; a new start begins before step 1."""
    if not path.exists():
        return
    kept = [line for line in path.read_text().splitlines() if step and _step_of(line) <= step]
    aside = path.with_suffix(".partial")
    aside.write_text("".join(line + "\n" for line in kept))
    aside.replace(path)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:  # a line that was cut by a kill
        return float("inf")
