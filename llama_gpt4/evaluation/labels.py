"""Names on figures and in tables for what comes from several files."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

Thing = TypeVar("Thing")


def short_names(files: Iterable[str]) -> dict[str, str]:
    """Each file from where its path differs from the others': a/scores.json and b/scores.json."""
    whole = {file: os.path.abspath(file) for file in files}
    folder = os.path.commonpath(map(os.path.dirname, whole.values())) if whole else ""
    return {file: os.path.relpath(path, folder) for file, path in whole.items()}


def labelled(
    files: Mapping[str, Mapping[str, Thing]], taken: Iterable[str] = ()
) -> dict[str, Thing]:
    """What the `files` hold, by name; a name that is there twice, or `taken`, says its file, so
    that none takes another's place."""
    short = short_names(files)
    seen = Counter([*taken, *(name for things in files.values() for name in things)])
    return {
        name if seen[name] == 1 else f"{name} ({short[file]})": thing
        for file, things in files.items()
        for name, thing in things.items()
    }
