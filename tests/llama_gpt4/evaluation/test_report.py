"""The page holds the paper's figures and ours, and nothing that a browser would fetch or run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.evaluation import report
from llama_gpt4.evaluation.report import read_results
from llama_gpt4.evaluation.report_sections import published
from llama_gpt4.evaluation.results import EACH, KINDS

E = {"value": 1.25, "low": 1.1, "high": 1.5}
HOSTILE = "<script>alert(1)</script>"


def judged(name: str) -> dict[str, Any]:
    pair = {
        "models": [name, "b"], "points": [640.0, 512.0], "relative_score": E, "win_rate": E,
        "length_controlled_win_rate": None, "conflicts": 3,
    }  # fmt: skip
    return {"settings": {"questions": name}, "pairs": [pair], "judgements": {}}


def write(folder: Path, name: str, content: Any) -> str:
    path = folder / name
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one report, since drawing takes its time."""
    folder = tmp_path_factory.mktemp("report")
    path = write(folder, "judge.json", judged(HOSTILE))
    assert report.main([f"results=[{path}]", f"output={folder}/report.html"]) == 0
    return folder


def test_each_figure_is_in_the_page_and_beside_it(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count("data:image/svg+xml;base64,") == 7
    assert len(re.findall("<li>", text)) == len(published()["corrected"])
    assert sorted(p.name for p in (folder / "report").iterdir()) == sorted(
        f"{n}.{kind}" for n in (1, 2, 3, 4, 5, 6, 9) for kind in ("png", "pdf")
    )


def test_ours_stand_beside_the_papers_and_run_nothing(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "125.0 % (110.0 to 150.0)" in text and "640 : 512" in text
    assert HOSTILE not in text and "&lt;script&gt;" in text
    assert not re.search(r'<script|src="http|href=', text)


def test_what_is_no_result_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ([1], {"pairs": []}):
        path = write(tmp_path, "other.json", content)
        assert report.main([f"results=[{path}]", f"output={tmp_path}/r.html"]) == 2
        assert "other.json is no result of" in capsys.readouterr().err
    path = write(tmp_path, "damaged.json", {"sources": [], "scale": [1, 10]})
    assert report.main([f"results=[{path}]", f"output={tmp_path}/r.html"]) == 2
    assert "damaged.json is damaged, or of another version: sources is a JSON array" in (
        capsys.readouterr().err
    )
    (tmp_path / "cut.json").write_text("{")
    assert report.main([f"results=[{tmp_path}/cut.json]", f"output={tmp_path}/r.html"]) == 2
    assert "cut.json is not JSON" in capsys.readouterr().err
    assert report.main([f"results=[{tmp_path}/no.json]", f"output={tmp_path}/r.html"]) == 2
    assert report.main([f"output={tmp_path}/r.txt"]) == 2
    assert not (tmp_path / "r.html").exists()


def least(shape: Any) -> Any:
    """The least that has this shape."""
    if isinstance(shape, type):
        return None if shape is object else shape()
    if isinstance(shape, list) or EACH in shape:
        return type(shape)()
    return {key: least(inner) for key, inner in shape.items()}


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    files = [
        write(tmp_path, f"{kind}.json", {key: least(shape) for key, shape in own.items()})
        for kind, own in KINDS.items()
    ]
    found = {kind: len(own) for kind, own in read_results(files).items()}
    assert found == dict.fromkeys(KINDS, 1)
