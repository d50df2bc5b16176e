"""All ranks of one host, where no other launcher starts them: under Slurm, Kubernetes, SkyPilot.

The place starts this module once on every host and says which of them it is. The first host takes
the run directory and prepares the data before its ranks start; the others' ranks wait for them.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from llama_gpt4.errors import ExitCode
from llama_gpt4.frozen_config import load_resolved
from llama_gpt4.program import ExitReport, run_program
from llama_gpt4_launch.local import Processes
from llama_gpt4_launch.start import prepare_run


def command(
    python: str,
    frozen: str,
    *,
    nodes: int | str,
    processes: int | str,
    master_address: str,
    master_port: int | str,
) -> list[str]:
    """What a place runs on every host, up to the number of the host."""
    return [
        *[python, "-m", "llama_gpt4_launch.node", "--resolved", frozen],
        *["--nodes", str(nodes), "--processes", str(processes)],
        *["--master-address", master_address, "--master-port", str(master_port)],
        "--node-rank",
    ]


def main(argv: Sequence[str]) -> int:
    return run_program("train", lambda report: run(argv, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """The ranks of this host; exits with the code that tells most where it is not 0."""
    options = _parse(arguments)
    config = load_resolved(options.resolved)
    report.program = config.program
    if options.node_rank == 0:
        lock = prepare_run(config, report)
    else:
        lock = os.open(os.devnull, os.O_RDONLY)  # the first host holds the directory for all
        report.run_dir = Path(config.run_dir)
    rank = [sys.executable, "-m", "llama_gpt4_launch.rank", "--resolved", str(options.resolved)]
    ranks = Processes(report, config.program)
    code = ranks.run([rank] * options.processes, _environments(options), lock)
    if code is not ExitCode.DONE:
        report.write(code, ranks.last_words(code))
        sys.exit(code)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m llama_gpt4_launch.node")
    parser.add_argument("--resolved", type=Path, required=True)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--node-rank", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--master-address", required=True)
    parser.add_argument("--master-port", required=True)
    return parser.parse_args(list(arguments))


def _environments(options: argparse.Namespace) -> list[dict[str, str]]:
    """What each process needs to find the others; the same variables as torchrun's."""
    shared = {
        **os.environ,
        "WORLD_SIZE": str(options.nodes * options.processes),
        "LOCAL_WORLD_SIZE": str(options.processes),
        "MASTER_ADDR": options.master_address,
        "MASTER_PORT": options.master_port,
    }
    first = options.node_rank * options.processes
    return [
        {**shared, "RANK": str(first + local_rank), "LOCAL_RANK": str(local_rank)}
        for local_rank in range(options.processes)
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
