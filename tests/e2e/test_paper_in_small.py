"""The whole paper in small: the strong teacher's model is the better one, with confidence."""

import json
import os
from pathlib import Path

import pytest

from .paper_in_small import main

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_stronger_teacher_makes_the_better_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    found = main(tmp_path, train_steps=150)
    assert found["relative_score"]["low"] > 1 and found["win_rate"]["low"] > 0.5
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "strong : weak" in page and "Figure 6" in page
    groups = json.loads((tmp_path / "judged_groups" / "judge.json").read_text())["models"]
    assert groups["scores"].keys() == {"R1", "R5"} and groups["questions"] == 115
