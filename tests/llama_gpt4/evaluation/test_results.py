"""Results are not written over what they are made from."""

from pathlib import Path

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.results import require_apart


def test_an_input_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_apart("rouge.json", ["a.json", "sample:en"])
    with pytest.raises(InputError, match=r"^output=.* is read as well"):
        require_apart(str(tmp_path / "a.json"), ["a.json"])
    with pytest.raises(InputError, match=r"^file=a\.json .* choose another file"):
        require_apart("a.json", ["a.json"], "file")
