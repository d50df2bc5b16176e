"""Weights & Biases or TensorBoard in a process of its own, which follows `metrics.jsonl`.

Training never waits for it, never fails with it, and ends without it. Nobody logged in, or a server
that does not answer: W&B runs offline in `run_dir/wandb`, for `wandb sync`. The run's id is kept in
the run directory, so a restart continues the same run.
"""

import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol

from llama_gpt4.config import RunConfig, TrackingConfig
from llama_gpt4.errors import require
from llama_gpt4.frozen_config import as_yaml, load_resolved
from llama_gpt4.samples import read_samples
from llama_gpt4.summary import Summary, read_summary

INIT_SECONDS = 8.0
"""How long the server may take to answer before the run goes offline."""
CLOSE_SECONDS = 20.0
"""How much later a run ends for its tracker, at most."""
WITH_MODEL = b"model\n"
"""The last words to the process of a run that has exported its model."""


def require_installed(tracking: TrackingConfig) -> None:
    """`InputError` where the tracker is a package that is not here."""
    require(
        tracking.kind != "tensorboard" or importlib.util.find_spec("tensorboard") is not None,
        "tracking.kind=tensorboard needs a package that is not installed: pip install tensorboard",
    )


class Tracker:
    """The process, as rank 0 sees it. What it has to say goes to `run_dir/logs/<kind>.log`."""

    def __init__(self, config: RunConfig, start_step: int) -> None:
        """Follow the lines that come from now on, which are those after `start_step`."""
        run_dir = Path(config.run_dir)
        written = (run_dir / "metrics.jsonl").stat().st_size
        program = [sys.executable, "-m", "llama_gpt4.tracker"]
        with open(run_dir / "logs" / f"{config.tracking.kind}.log", "ab") as log:
            self._process = subprocess.Popen(
                [*program, str(run_dir), str(written), str(start_step)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def close(self, *, has_model: bool) -> None:
        """Let it send what is left, for `CLOSE_SECONDS` at most; `has_model`: also that
        `run_dir/model` is there."""
        try:
            self._process.communicate(WITH_MODEL if has_model else b"", CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Sink(Protocol):
    """Where a run is shown."""

    def metrics(self, step: int, values: dict[str, Any]) -> None: ...
    def samples(self, step: int, samples: list[dict[str, Any]]) -> None: ...
    def model(self, step: int, folder: Path) -> None: ...
    def summary(self, step: int, run_dir: Path, summary: Summary) -> None: ...
    def finish(self) -> None: ...


def main(run_dir: Path, written: int, start_step: int) -> None:
    """Show the lines after the first `written` bytes, until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # rank 0 says when to end
        signal.signal(number, signal.SIG_IGN)
    end = End()
    config = load_resolved(run_dir / "config.yaml")
    sink: Sink = (
        WandB(config) if config.tracking.kind == "wandb" else TensorBoard(config, start_step)
    )
    step = start_step
    for line in follow(run_dir / "metrics.jsonl", written, end.is_here):
        step = line.pop("step")
        sink.metrics(step, line)
        if "eval_loss" in line and (samples := read_samples(run_dir, step)):
            sink.samples(step, samples)
    if end.last_words == WITH_MODEL:
        sink.model(step, run_dir / "model")
        if summary := read_summary(run_dir):
            sink.summary(step, run_dir, summary)
    sink.finish()
    # All is written. What W&B would do at exit is its own telemetry, which waits for the server.
    sys.stdout.flush()
    os._exit(0)


class End:
    """Standard input ends with the trainer, however that ends; nobody else would stop us then."""

    def __init__(self) -> None:
        self.is_here = threading.Event()
        self.last_words = b""
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self.last_words = sys.stdin.buffer.read()
        self.is_here.set()
        time.sleep(CLOSE_SECONDS)
        os._exit(1)


def follow(path: Path, written: int, ended: threading.Event) -> Iterator[dict[str, Any]]:
    """The lines of `path` after its first `written` bytes, as they come, until it has `ended`."""
    with open(path, "rb") as file:
        file.seek(written)
        rest = b""
        while True:
            is_last = ended.is_set()  # asked before reading, so that no line is missed
            *lines, rest = (rest + file.read()).split(b"\n")
            yield from map(json.loads, lines)
            if is_last:
                return
            ended.wait(1)


class WandB:
    """A run of Weights & Biases, the same one whenever the training is started again."""

    def __init__(self, config: RunConfig) -> None:
        run_dir = Path(config.run_dir)
        tags = [config.name[:64], *config.tracking.tags]  # W&B takes no longer ones
        self._run = start_run(run_dir, config.tracking, config.program, tags, asdict(config))
        self._name = re.sub(r"[^\w.-]", "-", run_dir.name)
        if (report := run_dir / "data.json").exists():
            artifact = self._artifact("data", "dataset", json.loads(report.read_text()))
            artifact.add_reference(report.as_uri())
            self._run.log_artifact(artifact)

    def metrics(self, step: int, values: dict[str, Any]) -> None:
        self._run.log(values, step=step)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        import wandb

        columns = list(samples[0])
        rows = [[sample[column] for column in columns] for sample in samples]
        self._run.log({"samples": wandb.Table(columns=columns, data=rows)}, step=step)

    def model(self, step: int, folder: Path) -> None:
        artifact = self._artifact("model", "model", {"step": step})
        # Weights are neither uploaded nor read, which would take longer than a run may wait for it.
        # Their checksums are those of their names, so the step is what tells versions apart.
        artifact.add_reference(folder.as_uri(), name=f"step-{step}", checksum=False)
        self._run.log_artifact(artifact)

    def summary(self, step: int, run_dir: Path, summary: Summary) -> None:
        import wandb

        self._run.summary.update(summary.scalars)
        shown = {
            name: wandb.Table(columns=table.columns, data=table.rows)
            for name, table in summary.tables.items()
        }
        shown |= {name: wandb.Image(str(run_dir / png)) for name, png in summary.pictures.items()}
        self._run.log(shown, step=step)

    def finish(self) -> None:
        self._run.finish()

    def _artifact(self, what: str, kind: str, described: dict[str, Any]) -> Any:
        import wandb

        return wandb.Artifact(f"{self._name}-{what}", type=kind, metadata=described)


def start_run(
    folder: Path, tracking: TrackingConfig, job_type: str, tags: list[str], config: dict[str, Any]
) -> Any:
    """The run of W&B that is kept in `folder` and has its name, the same one at every start."""
    import wandb

    # Copies of logged files wait here for `wandb sync`: with the run, not in somebody's home.
    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")

    def start(mode: Literal["online", "offline"]) -> Any:
        return wandb.init(
            project=tracking.project,
            group=tracking.group,
            job_type=job_type,
            tags=tags,
            name=folder.name,
            id=run_id(folder),
            resume="allow",
            dir=folder,
            mode=mode,
            config=config,
            settings=wandb.Settings(silent=True, console="off", init_timeout=INIT_SECONDS),
        )

    if not _is_logged_in():
        return start("offline")
    try:
        return start("online")
    except wandb.errors.Error as error:
        print(f"offline, since the server does not take the run: {error}")
        wandb.teardown(1)  # the same id could not be used again within one service
        return start("offline")


def run_id(folder: Path, known: str | None = None) -> str:
    """The id of W&B's run that is kept in `folder`; where none is yet, `known` or a new one."""
    file = folder / "wandb_id"
    if not file.exists():
        file.write_text(known or secrets.token_hex(4))
    return file.read_text().strip()


def _is_logged_in() -> bool:
    """Whether W&B would find a key by itself; asking the library could ask the user."""
    if os.environ.get("WANDB_MODE", "online") in ("offline", "disabled", "dryrun"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return netrc.exists() and "wandb" in netrc.read_text(errors="replace")


class TensorBoard:
    """Event files in `run_dir/tensorboard`."""

    def __init__(self, config: RunConfig, start_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        run_dir = Path(config.run_dir)
        # A restart takes back what an earlier start has shown of the steps that it takes again.
        taken_again = start_step + 1 if start_step else 0
        self._writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=taken_again)
        self._writer.add_text("config", _as_code(as_yaml(config)), start_step)
        if (report := run_dir / "data.json").exists():
            self._writer.add_text("data", _as_code(report.read_text()), start_step)

    def metrics(self, step: int, values: dict[str, Any]) -> None:
        for key, value in values.items():
            if value is not None:
                self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        for number, sample in enumerate(samples):
            shown = [(key, value) for key, value in sample.items() if value is not None]
            text = "\n\n".join(f"**{key}**\n{_as_code(value)}" for key, value in shown)
            self._writer.add_text(f"samples/{number}", text, step)

    def model(self, step: int, folder: Path) -> None:
        self._writer.add_text("model", str(folder), step)

    def summary(self, step: int, run_dir: Path, summary: Summary) -> None:
        from matplotlib.image import imread

        self.metrics(step, summary.scalars)
        for name, table in summary.tables.items():
            lines = [table.columns, ["---"] * len(table.columns), *table.rows]
            text = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
            self._writer.add_text(name, text, step)
        for name, png in summary.pictures.items():
            self._writer.add_image(name, imread(run_dir / png), step, dataformats="HWC")

    def finish(self) -> None:
        self._writer.close()


def _as_code(text: str) -> str:
    """Markdown that shows `text` as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _cell(value: Any) -> str:
    """Within a row of a table in Markdown."""
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return shown.replace("|", "\\|").replace("\n", "<br>")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
