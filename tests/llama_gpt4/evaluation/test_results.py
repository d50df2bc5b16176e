"""Results are not written over what they are made from, and have the shapes that are read."""

from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.results import EACH, damage, require_apart


def test_an_input_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_apart("rouge.json", ["a.json", "sample:en"])
    with pytest.raises(InputError, match=r"^output=.* is read as well"):
        require_apart(str(tmp_path / "a.json"), ["a.json"])
    with pytest.raises(InputError, match=r"^file=a\.json .* choose another file"):
        require_apart("a.json", ["a.json"], "file")


SHAPE = {"rows": [{"name": str, "share": float, "p": object}], "sets": {EACH: {"n": int}}}
ROW = {"name": "a", "share": 1, "p": None}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"rows": [ROW], "sets": {"a": {"n": 1}, "b": {"n": 2}}, "more": 1}, None),
        ({"rows": [], "sets": {}}, None),
        ([], "it is a JSON array"),
        ({"rows": []}, "it has no sets"),
        ({"rows": {}, "sets": {}}, "rows is a JSON object"),
        ({"rows": [ROW, 5], "sets": {}}, "rows[1] is a JSON number"),
        ({"rows": [ROW | {"share": None}], "sets": {}}, "rows[0].share is a JSON null"),
        ({"rows": [{"name": "a", "share": 0.5}], "sets": {}}, "rows[0] has no p"),
        ({"rows": [], "sets": {"a": {"n": 1}, "b": {}}}, "sets.b has no n"),
        ({"rows": [], "sets": {"a": {"n": 0.5}}}, "sets.a.n is a JSON number"),
    ],
)
def test_what_has_another_shape_is_named_by_its_place(value: Any, fault: str | None) -> None:
    assert damage(value, SHAPE) == fault
