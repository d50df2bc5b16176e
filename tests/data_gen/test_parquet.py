"""Comparisons in Parquet are those of the same records in JSON."""

from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
from llama_gpt4_data.comparisons import read_comparisons
from pyarrow import parquet

from llama_gpt4.errors import InputError

from .reward_runs import bench, scored, write

RECORDS = [*bench({"hep-go": 2}), scored("Why?", ("So.", 9), ("No.", 4.5))]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    keys = {key: None for record in RECORDS for key in record}
    table = pyarrow.Table.from_pylist([keys | record for record in RECORDS])
    parquet.write_table(table, tmp_path / "cmp.parquet")
    return tmp_path / "cmp.parquet"


def test_a_record_is_that_of_json(file: Path, tmp_path: Path) -> None:
    """Also where another record has keys that this one lacks: they are null in a column."""
    found = read_comparisons([str(file)])
    same = read_comparisons([write(tmp_path, RECORDS)])
    assert [replace(c, file="") for c in found] == [replace(c, file="") for c in same]


def test_a_cut_file_is_one_line(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cmp.parquet is a damaged Parquet file: [^\n]*$"):
        read_comparisons([str(file)])
