"""Weights & Biases in a process of its own, which follows `metrics.jsonl`.

Training never waits for it, never fails with it, and ends without it. Nobody logged in, or a server
that does not answer: it runs offline in `run_dir/wandb`, for `wandb sync`. The run's id is kept in
the run directory, so a restart continues the same run.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from llama_gpt4.compose import load_resolved
from llama_gpt4.config import TrainConfig

INIT_SECONDS = 8.0
"""How long the server may take to answer before the run goes offline."""
CLOSE_SECONDS = 20.0
"""How much later a run ends for its tracker, at most."""


class Tracker:
    """The process, as rank 0 sees it. What it has to say goes to `run_dir/logs/wandb.log`."""

    def __init__(self, run_dir: Path) -> None:
        written = (run_dir / "metrics.jsonl").stat().st_size
        with open(run_dir / "logs" / "wandb.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "llama_gpt4.tracker", str(run_dir), str(written)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def close(self) -> None:
        """Let it send the last lines, for `CLOSE_SECONDS` at most."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main(run_dir: Path, written: int) -> None:
    """Send the lines after the first `written` bytes, until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # rank 0 says when to end
        signal.signal(number, signal.SIG_IGN)
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    run = _start(load_resolved(run_dir / "config.yaml"))
    for line in follow(run_dir / "metrics.jsonl", written, ended):
        run.log({key: value for key, value in line.items() if key != "step"}, step=line["step"])
    run.finish()
    # All is written. What W&B would do at exit is its own telemetry, which waits for the server.
    sys.stdout.flush()
    os._exit(0)


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


def _wait_for_end(ended: threading.Event) -> None:
    """Standard input ends with the trainer, however that ends; nobody else would stop us then."""
    sys.stdin.buffer.read()
    ended.set()
    time.sleep(CLOSE_SECONDS)
    os._exit(1)


def _start(config: TrainConfig) -> Any:
    import wandb

    run_dir = Path(config.run_dir)
    id_file = run_dir / "wandb_id"
    if not id_file.exists():
        id_file.write_text(secrets.token_hex(4))

    def start(mode: Literal["online", "offline"]) -> Any:
        return wandb.init(
            project=config.tracking.project,
            group=config.tracking.group,
            name=run_dir.name,
            id=id_file.read_text().strip(),
            resume="allow",
            dir=run_dir,
            mode=mode,
            config=asdict(config),
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


def _is_logged_in() -> bool:
    """Whether W&B would find a key by itself; asking the library could ask the user."""
    if os.environ.get("WANDB_MODE", "online") in ("offline", "disabled", "dryrun"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return netrc.exists() and "wandb" in netrc.read_text(errors="replace")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
