"""The records are those of the same JSONL, whatever they come in."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from llama_gpt4.containers import folder_pieces
from llama_gpt4.errors import InputError
from llama_gpt4.records import blocks_of, read_bytes, read_records

from .hub_of_data import running_hub_of

RECORDS = [
    {"instruction": "Why?", "input": "", "output": "因为。\u2028Really."},
    {"instruction": "Add.", "input": "1 2", "output": "3"},
    {"instruction": "Say nothing.", "output": ""},
]
JSONL = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()


def as_gzip(folder: Path) -> Path:
    path = folder / "records.jsonl.gz"
    path.write_bytes(gzip.compress(JSONL))
    return path


def as_zstandard(folder: Path) -> Path:
    path = folder / "records.jsonl.zst"
    with pyarrow.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(JSONL)
    return path


def as_array_in_gzip(folder: Path) -> Path:
    path = folder / "records.json.gz"
    path.write_bytes(gzip.compress(json.dumps(RECORDS).encode()))
    return path


def as_parquet(folder: Path) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS), folder / "records.parquet")
    return folder / "records.parquet"


def as_arrow(folder: Path) -> Path:
    datasets.Dataset.from_list(RECORDS).save_to_disk(folder / "records")
    return folder / "records"


def as_arrow_in_shards(folder: Path) -> Path:
    datasets.Dataset.from_list(RECORDS).save_to_disk(folder / "records", num_shards=2)
    return folder / "records"


@pytest.mark.parametrize(
    "container",
    [as_gzip, as_zstandard, as_array_in_gzip, as_parquet, as_arrow, as_arrow_in_shards],
)
def test_the_records_are_the_same(container: Callable[[Path], Path], tmp_path: Path) -> None:
    plain = tmp_path / "records.jsonl"
    plain.write_bytes(JSONL)
    found, same = read_records(str(container(tmp_path))), read_records(str(plain))
    assert [replace(r, file="", index=0) for r in found] == [
        replace(r, file="", index=0) for r in same
    ]
    assert found[1].index == (2 if container in (as_gzip, as_zstandard) else 1)


@pytest.mark.parametrize(
    "container", [as_gzip, as_zstandard, as_parquet, as_arrow, as_arrow_in_shards]
)
def test_a_cut_file_is_one_line(container: Callable[[Path], Path], tmp_path: Path) -> None:
    path = container(tmp_path)
    victim = max(path.glob("*.arrow")) if path.is_dir() else path
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"records[^\n]* is a damaged [^\n]*$"):
        read_records(str(path))


@pytest.mark.parametrize("container", [None, as_gzip, as_zstandard])
def test_a_pipe_is_read_from_its_beginning(
    container: Callable[[Path], Path] | None, tmp_path: Path
) -> None:
    """As in `questions=/dev/stdin`: there is no second time."""
    content = container(tmp_path).read_bytes() if container else JSONL
    end, begin = os.pipe()
    try:
        with os.fdopen(begin, "wb") as pipe:
            pipe.write(content)
        assert len(read_records(f"/dev/fd/{end}")) == len(RECORDS)
    finally:
        os.close(end)


def test_a_folder_of_several_data_sets_asks_for_one(tmp_path: Path) -> None:
    one = datasets.Dataset.from_list(RECORDS)
    datasets.DatasetDict(train=one, test=one).save_to_disk(tmp_path / "both")
    with pytest.raises(InputError, match=r"several data sets: .* \(train, test\)"):
        read_bytes(str(tmp_path / "both"))
    assert len(read_records(str(tmp_path / "both" / "train"))) == len(RECORDS)


def test_a_selection_and_a_folder_without_its_files_are_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_list(RECORDS).save_to_disk(tmp_path / "chosen")
    state = tmp_path / "chosen" / "state.json"
    content = json.loads(state.read_text())
    state.write_text(json.dumps(content | {"_indices_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(InputError, match=r"flatten_indices\(\)"):
        list(folder_pieces(tmp_path / "chosen", "chosen"))
    state.write_text(json.dumps(content | {"_data_files": [{"filename": "gone.arrow"}]}))
    with pytest.raises(InputError, match="chosen is a damaged folder"):
        list(folder_pieces(tmp_path / "chosen", "chosen"))
    for name in ("state.json", "dataset_dict.json"):
        (tmp_path / "chosen" / name).write_text("[]")
        with pytest.raises(InputError, match="chosen is a damaged folder"):
            list(folder_pieces(tmp_path / "chosen", "chosen"))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (pyarrow.array([b"binary"]), "record 0: `output` is a JSON bytes, not a string"),
        (pyarrow.array([b"\xff"]).cast(pyarrow.string(), safe=False), "is a damaged Parquet file"),
    ],
)
def test_a_column_that_is_no_text_is_told(
    output: pyarrow.Array, message: str, tmp_path: Path
) -> None:
    table = pyarrow.table({"instruction": ["Why?"], "output": output})
    parquet.write_table(table, tmp_path / "records.parquet")
    with pytest.raises(InputError, match=message):
        read_records(str(tmp_path / "records.parquet"))


def test_large_rows_come_a_few_at_a_time(tmp_path: Path) -> None:
    table = pyarrow.table({"instruction": ["Why?"] * 10, "output": ["x" * 300_000] * 10})
    parquet.write_table(table, tmp_path / "records.parquet")
    sizes = [len(block.values()) for block in blocks_of(str(tmp_path / "records.parquet"))]
    assert sizes == [3, 3, 3, 1]


@pytest.mark.e2e
def test_a_data_set_of_the_hub_is_fetched_once_and_then_needs_no_network(tmp_path: Path) -> None:
    code = """
import sys
from llama_gpt4.errors import InputError
from llama_gpt4.records import read_records
for name in sys.argv[1:]:
    try:
        print([record.output for record in read_records(name)])
    except InputError as error:
        print(error)
"""

    def read(*names: str, **variables: str) -> list[str]:
        environment = {**os.environ, "HF_HOME": str(tmp_path), **variables}
        command = [sys.executable, "-c", code, *names]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    with running_hub_of(JSONL) as url:
        whole, split, absent = read("hub:o/n", "hub:o/n:test", "hub:o/absent", HF_ENDPOINT=url)
    assert whole == f"{[record['output'] for record in RECORDS]}"
    assert split.startswith("hub:o/n:test is no data set that the hub gives us: ")
    assert "train" in split
    assert absent.startswith("hub:o/absent is no data set that the hub gives us: 404")
    assert read("hub:o/n", HF_HUB_OFFLINE="1") == [whole]
