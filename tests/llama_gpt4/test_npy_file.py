"""Byte for byte what `np.save` writes."""

import errno
import io
from typing import Any

import numpy as np
import pytest

from llama_gpt4.npy_file import NpyFile


@pytest.mark.parametrize("sizes", [[], [0], [1], [3, 0, 5], [100_000, 20_000]])
def test_rows_that_come_in_parts(sizes: list[int]) -> None:
    rows = np.arange(3 * sum(sizes)).reshape(-1, 3)
    written, saved = io.BytesIO(), io.BytesIO()
    with NpyFile(written, 3) as file:
        for part in np.split(rows, np.cumsum(sizes)[:-1]) if sizes else []:
            file.add(part)
    np.save(saved, rows)
    assert written.getvalue() == saved.getvalue()


class Full(io.BytesIO):
    """Takes the header, and of what comes next a part."""

    def write(self, data: Any) -> int:
        if self.tell():
            super().write(data[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_full_disk_stays_the_reason() -> None:
    with pytest.raises(OSError, match="No space left"), NpyFile(Full(), 3) as file:
        file.add(np.ones((2, 3), np.int64))
