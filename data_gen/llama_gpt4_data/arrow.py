"""A data set as a folder that `datasets.load_from_disk` opens at once, however large it is."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError


def write_arrow(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Put `records` in the place of `folder`, whole or not at all. An object is JSON in a text:
    a column of Arrow has one type, with each key that any record has, and the parameters of two
    requests may differ, as may the instructions that two are most similar to. No records leave
    no folder, for `datasets` opens none that is empty."""
    import datasets  # seconds

    columns = dict.fromkeys(key for record in records for key in record)
    rows = {column: [_value(column, record) for record in records] for column in columns}
    aside, before = (folder.with_name(folder.name + end) for end in (".partial", ".before"))
    try:
        for left in (aside, before):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        datasets.disable_progress_bars()
        if records:
            datasets.Dataset.from_dict(rows).save_to_disk(os.fspath(aside))
        if folder.exists():
            folder.rename(before)
        if records:
            aside.rename(folder)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error


def _value(column: str, record: Mapping[str, Any]) -> Any:
    value = record.get(column)
    if isinstance(value, Mapping):
        value = json.dumps(value, ensure_ascii=False)
    # Half a letter, which a model may have been cut at, is no text to Arrow.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
