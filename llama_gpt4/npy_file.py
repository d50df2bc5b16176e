"""A NumPy file whose rows are written as they come: nobody knows how many there will be."""

from types import TracebackType
from typing import IO, Self

import numpy as np

from llama_gpt4.packing import Ints


class NpyFile:
    """The file will hold int64 (n, columns), as `np.save` writes it."""

    def __init__(self, file: IO[bytes], columns: int) -> None:
        self._file, self._columns, self._n = file, columns, 0
        self._write_header()

    def add(self, rows: Ints) -> None:
        """Write `rows` (k, columns)."""
        self._file.write(np.ascontiguousarray(rows, np.int64).tobytes())
        self._n += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            return  # nobody reads what is unfinished; the disk may be full
        start = self._write_header()
        assert self._file.seek(0, 2) == start + 8 * self._columns * self._n

    def _write_header(self) -> int:
        """Say at the beginning how many rows there are; where these begin. NumPy leaves room, so
        that the length of a header does not depend on the number."""
        self._file.seek(0)
        shape = (self._n, self._columns)
        described = {"descr": "<i8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, described)
        return self._file.tell()
