"""What a measured number has to be read with, and the files that it is kept in."""

import csv
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def facts(*libraries: str) -> str:
    """Day, commit, processor and versions, as the beginning of a sentence."""
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"{date.today()}, commit {commit()}, {processor()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {versions}"
    )


def commit() -> str:
    """Of the checkout; LLAMA_GPT4_COMMIT says it where only the files were copied."""
    if given := os.environ.get("LLAMA_GPT4_COMMIT"):
        return given
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    name = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return name.replace("-dirty", " with changes") or "unknown"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def versions(python: str, *libraries: str) -> str:
    """What another interpreter is, and which of the libraries it has."""
    program = (
        "import importlib.metadata as m, sys; names = {d.name.lower() for d in m.distributions()}; "
        "print(f'Python {sys.version.split()[0]}', *(f'{n} {m.version(n)}' for n in "
        f"{libraries} if n in names), sep=', ')"
    )
    return subprocess.run([python, "-c", program], capture_output=True, text=True).stdout.strip()


def write_report(path: Path, text: str) -> None:
    """Show `text` and keep it."""
    print(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """CSV of all that was measured, under the keys of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
