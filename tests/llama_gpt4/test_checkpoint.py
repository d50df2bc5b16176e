"""What a start does with the checkpoints it finds; saving and restoring: tests/distributed."""

import json
import threading
from pathlib import Path

import pytest
import torch

from llama_gpt4 import checkpoint
from llama_gpt4.ranks import Ranks


def as_rank(rank: int, rank_zero_says: list[int], monkeypatch: pytest.MonkeyPatch) -> Ranks:
    """One of two ranks, of which the other one has no fault to report."""
    said = iter(rank_zero_says)
    monkeypatch.setattr(checkpoint, "from_rank_zero", lambda value, ranks: next(said))
    monkeypatch.setattr(checkpoint, "sum_over_ranks", lambda values, ranks: values)
    return Ranks(rank, rank, 2, 1, torch.device("cpu"), "host")


def test_a_checkpoint_that_this_host_sees_late_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint.step_folder(tmp_path, 6)
    hidden = tmp_path / "on its way"
    hidden.mkdir()
    state = {"step": 6, "data_fingerprint": ""}
    manifest = {"state": state, "architecture": {}, "shapes": {}, "files": {}}
    (hidden / "manifest.json").write_text(json.dumps(manifest))
    folder.parent.mkdir()
    arrival = threading.Timer(0.5, lambda: hidden.rename(folder))
    arrival.start()
    found = checkpoint.last_good(tmp_path, as_rank(1, [6, 1], monkeypatch))
    arrival.join()
    assert found is not None and found.folder == folder


def test_nobody_waits_for_what_rank_0_does_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoint.dist, "barrier", lambda: None)
    ranks = as_rank(1, [6, 0, -1], monkeypatch)
    assert checkpoint.last_good(tmp_path, ranks) is None
    assert "step-6 is no complete checkpoint" in caplog.text


def test_waiting_ends(tmp_path: Path) -> None:
    assert not checkpoint.appears(tmp_path / "never", seconds=0)
