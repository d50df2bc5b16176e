"""What a run has to say at its end besides its metrics: `run_dir/summary.json`, which the tracker
shows as scalars, tables and pictures."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llama_gpt4.files import write_json

FILE = "summary.json"


@dataclass(frozen=True)
class Table:
    columns: list[str]
    rows: list[list[Any]]
    """A cell is a text, a number or null; those of a column are of one type."""


@dataclass(frozen=True)
class Summary:
    """All by the name under which it is shown."""

    scalars: dict[str, float]
    tables: dict[str, Table]
    pictures: dict[str, str]
    """Paths of PNG files, from the run directory."""


def store_summary(run_dir: Path, summary: Summary) -> None:
    write_json(run_dir / FILE, asdict(summary))


def read_summary(run_dir: Path) -> Summary | None:
    """As `store_summary` wrote it; None for a run that has nothing more to say."""
    path = run_dir / FILE
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    tables = {name: Table(**table) for name, table in content["tables"].items()}
    return Summary(content["scalars"], tables, content["pictures"])
