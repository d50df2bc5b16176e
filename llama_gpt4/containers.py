"""What records come in besides plain JSON and JSONL: gzip, Zstandard, Parquet, folders that
`datasets` saved, and data sets of the Hugging Face hub.

All become bytes, piece by piece, and the first ones say what they are: whoever reads, hashes or
names a file need not know where it came from, and no file has to fit into memory.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from llama_gpt4.errors import InputError

if TYPE_CHECKING:
    import pyarrow

GZIP = b"\x1f\x8b"
ZSTANDARD = b"\x28\xb5\x2f\xfd"
PARQUET = b"PAR1"
ARROW = b"\xff\xff\xff\xff"
"""How an Arrow stream begins: the mark before its first message."""
STATE = "state.json"
"""Names the Arrow files of a folder that `datasets` has saved."""
HUB = "hub:"
"""Before `owner/name`, or `owner/name:split`; the split is `train` where none is named."""
PIECE_BYTES = 2**20
"""Read at a time."""
TABLE_ROWS = 1000
"""Of a table, turned into records at a time; fewer where they are more than `PIECE_BYTES`."""

Rows = list[dict[str, Any]]


def file_pieces(path: Path, file: str) -> Iterator[bytes]:
    """What is in the file at `path`, decompressed; `file` is what messages call it."""
    magic = b""
    try:
        with open(path, "rb") as raw:
            # Not opened once more for that: of a pipe the beginning would be gone.
            magic = raw.peek(len(ZSTANDARD))[: len(ZSTANDARD)]
            with _decompressed(raw, magic) as stream:
                yield from _pieces(stream)
    except (EOFError, zlib.error) as error:
        raise _damaged(file, error) from None
    except OSError as error:
        if magic.startswith((GZIP, ZSTANDARD)):
            raise _damaged(file, error) from None
        raise


def folder_pieces(folder: Path, file: str) -> Iterator[bytes]:
    """The Arrow files of a data set that `save_to_disk` wrote, one after the other."""
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = ", ".join(json.loads((folder / "dataset_dict.json").read_text())["splits"])
            raise InputError(f"{file} holds several data sets: name the folder of one ({splits})")
        if not (folder / STATE).is_file():
            raise InputError(f"{file} is a folder: name a file of records in it")
        state = json.loads((folder / STATE).read_text())
        if state.get("_indices_files"):
            raise InputError(
                f"{file} is a selection of rows that are not in order: save it once more after "
                "flatten_indices()"
            )
        for part in state["_data_files"]:
            with open(folder / part["filename"], "rb") as stream:
                yield from _pieces(stream)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is a damaged folder of Arrow files: {error}") from None


def hub_pieces(file: str) -> Iterator[bytes]:
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
        for batch in table.to_batches(TABLE_ROWS):
            writer.write_batch(batch)
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


def table_rows(pieces: Iterable[bytes], file: str) -> Iterator[Rows]:
    """The rows of Parquet or Arrow in `pieces`, some at a time."""
    import pyarrow

    stream = io.BufferedReader(_Stream(pieces), PIECE_BYTES)
    is_parquet = stream.peek(len(PARQUET)).startswith(PARQUET)
    try:
        for batch in _parquet_batches(stream) if is_parquet else _arrow_batches(stream):
            # Rows of books are large.
            most = PIECE_BYTES * batch.num_rows // max(batch.nbytes, 1)
            n = max(1, min(TABLE_ROWS, most))
            for start in range(0, batch.num_rows, n):
                rows = batch.slice(start, n).to_pylist()
                # A column is in every row, also in those whose record had no such key.
                yield [{key: v for key, v in row.items() if v is not None} for row in rows]
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError, EOFError) as error:
        kind = "Parquet" if is_parquet else "Arrow"
        reason = str(error).split("\n")[0]
        raise InputError(f"{file} is a damaged {kind} file: {reason}") from None


def _parquet_batches(stream: BinaryIO) -> Iterator["pyarrow.RecordBatch"]:
    from pyarrow import parquet

    # What is in it is said at its end, so its bytes have to be there; they are compressed.
    yield from parquet.ParquetFile(io.BytesIO(stream.read())).iter_batches(TABLE_ROWS)


def _arrow_batches(stream: "io.BufferedReader[_Stream]") -> Iterator["pyarrow.RecordBatch"]:
    from pyarrow import ipc

    while stream.peek(1):
        yield from ipc.open_stream(stream)


def _decompressed(raw: BinaryIO, magic: bytes) -> BinaryIO:
    if magic.startswith(GZIP):
        return cast(BinaryIO, gzip.open(raw))
    if magic.startswith(ZSTANDARD):
        import pyarrow

        return pyarrow.CompressedInputStream(raw, "zstd")
    return raw


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(PIECE_BYTES):
        yield piece


def _damaged(file: str, error: Exception) -> InputError:
    return InputError(f"{file} is a damaged or cut compressed file: {error}")


class _Stream(io.RawIOBase):
    """Pieces as a stream."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n
