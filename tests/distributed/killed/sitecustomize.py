"""Python imports this at the start of every process whose PYTHONPATH names this folder. `KILL` says
`<rank>:<victim>:<kind>:<folder>`: when that rank comes to its first point of that kind below that
folder, it kills itself or its parent, the launcher (`llama_gpt4/faults.py`)."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "llama_gpt4"))
rank, victim, kind, folder = os.environ["KILL"].split(":")
if os.environ.get("RANK") == rank:
    from faults import Points, kill_myself

    def kill_launcher() -> None:
        os.kill(os.getppid(), signal.SIGKILL)

    Points(folder, 0, kill_myself if victim == "rank" else kill_launcher, kind).install()
sys.path.pop(0)
