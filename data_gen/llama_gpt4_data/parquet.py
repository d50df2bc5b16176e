"""Records of a Parquet file, which is how the Hugging Face hub keeps data sets."""

import io
from typing import Any

from llama_gpt4.errors import InputError

PARQUET = b"PAR1"
"""How such a file begins."""


def parquet_values(content: bytes, file: str) -> list[tuple[int, Any]]:
    """The rows in `content` with their places from 0; `file` is what messages call it."""
    import pyarrow
    from pyarrow import parquet

    try:
        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{file} is a damaged Parquet file: {reason}") from None
    # A column is in every row, also in those whose record had no such key.
    return [
        (index, {key: value for key, value in row.items() if value is not None})
        for index, row in enumerate(rows)
    ]
