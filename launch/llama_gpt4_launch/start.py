"""What comes before the ranks of a run on several hosts: its directory is taken, its configuration
frozen, its data prepared; all once, by one process."""

import os
import shutil
import sys
from pathlib import Path

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import ExitCode
from llama_gpt4.frozen_config import freeze
from llama_gpt4.program import ExitReport, hold
from llama_gpt4.programs import PROGRAMS
from llama_gpt4_launch.local import Processes, give_back
from llama_gpt4_launch.watch import alive_folder


def prepare_run(config: RunConfig, report: ExitReport) -> int:
    """Make everything ready for ranks with `--resolved run_dir/config.yaml`; the descriptor that
    holds the run directory. Exits with the code of a preparation that fails."""
    run_dir = Path(config.run_dir)
    is_new = not run_dir.exists()
    lock = hold(run_dir)
    frozen = freeze(config)
    (run_dir / "exit.json").unlink(missing_ok=True)
    shutil.rmtree(alive_folder(run_dir), ignore_errors=True)
    report.run_dir = run_dir
    module = PROGRAMS[config.program].module
    command = [sys.executable, "-m", module, "--resolved", str(frozen), "--prepare"]
    preparing = Processes(report, config.program)
    code = preparing.run([command], [dict(os.environ)], lock)
    if code is ExitCode.DONE:
        return lock
    report.write(code, preparing.last_words(code))
    if is_new:
        give_back(run_dir, code)
    sys.exit(code)
