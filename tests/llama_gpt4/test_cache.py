"""A folder of the cache is built once, by whoever comes first, and is whole or not there; tokenised
records on top of it: test_prepare.py."""

from pathlib import Path

import pytest

from llama_gpt4.cache import cached
from llama_gpt4.data_config import FilesConfig, FilesPolicy, ValidationConfig
from llama_gpt4.errors import InputError


def files(cache: Path) -> FilesConfig:
    validation = ValidationConfig(files=[], share=0.0)
    return FilesConfig(
        files=["a.json"],
        row_tokens=8,
        policy=FilesPolicy(too_long="drop"),
        cache_dir=str(cache),
        validation=validation,
    )


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    written: list[Path] = []

    def write(draft: Path) -> None:
        (draft / "meta.json").write_text("{}")
        written.append(draft)

    for _ in range(2):
        assert cached(files(tmp_path), lambda: "key", write) == tmp_path / "key"
    assert len(written) == 1 and (tmp_path / "key" / "meta.json").exists()


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write(draft: Path) -> None:
        (draft / "half").write_text("")
        raise InputError("no record")

    with pytest.raises(InputError, match="no record"):
        cached(files(tmp_path), lambda: "key", write)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_what_changed_while_it_was_read_is_refused(tmp_path: Path) -> None:
    keys = iter(["before", "after"])
    with pytest.raises(InputError, match="changed while they were read"):
        cached(files(tmp_path), lambda: next(keys), lambda draft: None)
    assert not (tmp_path / "before").exists()
