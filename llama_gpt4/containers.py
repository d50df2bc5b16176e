"""What records come in besides plain JSON and JSONL: gzip, Zstandard, Parquet, folders that
`datasets` saved, and data sets of the Hugging Face hub.

All become bytes, and their first ones say what they are: whoever reads, hashes or names a file need
not know where it came from.
"""

import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError

GZIP = b"\x1f\x8b"
ZSTANDARD = b"\x28\xb5\x2f\xfd"
PARQUET = b"PAR1"
ARROW = b"\xff\xff\xff\xff"
"""How an Arrow stream begins: the mark before its first message."""
STATE = "state.json"
"""Names the Arrow files of a folder that `datasets` has saved."""
HUB = "hub:"
"""Before `owner/name`, or `owner/name:split`; the split is `train` where none is named."""


def decompressed(content: bytes, file: str) -> bytes:
    """`content`, or what was compressed in it; `file` is what messages call it."""
    try:
        if content.startswith(GZIP):
            return gzip.decompress(content)
        if content.startswith(ZSTANDARD):
            import pyarrow

            with pyarrow.CompressedInputStream(pyarrow.BufferReader(content), "zstd") as stream:
                return stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} is a damaged or cut compressed file: {error}") from None
    return content


def folder_content(folder: Path, file: str) -> bytes:
    """The Arrow files of a data set that `save_to_disk` wrote, one after the other."""
    if (folder / "dataset_dict.json").is_file():
        splits = ", ".join(json.loads((folder / "dataset_dict.json").read_text())["splits"])
        raise InputError(f"{file} holds several data sets: name the folder of one ({splits})")
    if not (folder / STATE).is_file():
        raise InputError(f"{file} is a folder: name a file of records in it")
    try:
        state = json.loads((folder / STATE).read_text())
        if state.get("_indices_files"):
            raise InputError(
                f"{file} is a selection of rows that are not in order: save it once more after "
                "flatten_indices()"
            )
        return b"".join((folder / part["filename"]).read_bytes() for part in state["_data_files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is a damaged folder of Arrow files: {error}") from None


def hub_content(file: str) -> bytes:
    """A data set of the Hugging Face hub, or of its cache on this machine, as an Arrow stream."""
    import datasets
    import pyarrow
    from huggingface_hub.errors import HTTPError

    name, _, split = file.removeprefix(HUB).partition(":")
    datasets.disable_progress_bars()
    try:
        table = datasets.load_dataset(name, split=split or "train").data.table
    except (OSError, ValueError, HTTPError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{file} is no data set that the hub gives us: {reason}") from None
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def table_rows(content: bytes, file: str) -> list[dict[str, Any]] | None:
    """The rows of Parquet or Arrow; None where `content` is neither."""
    if not content.startswith((PARQUET, ARROW)):
        return None
    import pyarrow
    from pyarrow import ipc, parquet

    rows: list[dict[str, Any]] = []
    try:
        if content.startswith(PARQUET):
            rows = parquet.read_table(io.BytesIO(content)).to_pylist()
        else:
            source = pyarrow.BufferReader(content)
            while source.tell() < source.size():
                rows += ipc.open_stream(source).read_all().to_pylist()
    except (pyarrow.ArrowException, OSError, EOFError) as error:
        kind = "Parquet" if content.startswith(PARQUET) else "Arrow"
        reason = str(error).split("\n")[0]
        raise InputError(f"{file} is a damaged {kind} file: {reason}") from None
    # A column is in every row, also in those whose record had no such key.
    return [{key: value for key, value in row.items() if value is not None} for row in rows]
