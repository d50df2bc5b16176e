"""What a start does with the checkpoints it finds; saving and restoring: tests/distributed."""

import json
import threading
from pathlib import Path

import pytest
import torch

from llama_gpt4 import checkpoint
from llama_gpt4.errors import InputError
from llama_gpt4.ranks import Ranks


def as_rank(rank: int, rank_zero_says: list[int], monkeypatch: pytest.MonkeyPatch) -> Ranks:
    """One of two ranks, of which the other one has no fault to report."""
    said = iter(rank_zero_says)
    monkeypatch.setattr(checkpoint, "from_rank_zero", lambda value, ranks: next(said))
    monkeypatch.setattr(checkpoint, "from_all", lambda value, ranks: ["", value])
    monkeypatch.setattr(checkpoint.dist, "barrier", lambda: None)
    return Ranks(rank, rank, 2, 1, torch.device("cpu"), "host")


def described(folder: Path, **architecture: int) -> None:
    """A checkpoint without a file."""
    folder.mkdir(parents=True)
    state = {"step": int(folder.name[5:]), "data_fingerprint": ""}
    manifest = {"state": state, "architecture": architecture, "shapes": {}, "files": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_checkpoint_that_this_host_sees_late_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint.step_folder(tmp_path, 6)
    hidden = tmp_path / "on its way" / "step-6"
    described(hidden)
    folder.parent.mkdir()
    arrival = threading.Timer(0.5, lambda: hidden.rename(folder))
    arrival.start()
    found = checkpoint.last_good(tmp_path, as_rank(1, [6, 1], monkeypatch), {})
    arrival.join()
    assert found is not None and found.folder == folder


def test_nobody_waits_for_what_rank_0_does_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ranks = as_rank(1, [6, 0, -1], monkeypatch)
    assert checkpoint.last_good(tmp_path, ranks, {}) is None
    assert [line.replace(str(tmp_path), "run") for line in caplog.messages] == [
        "skipping run/checkpoints/step-6: manifest.json is missing, damaged or another version's",
        "no checkpoint in run is intact: training begins anew",
    ]


def test_one_of_another_model_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    described(checkpoint.step_folder(tmp_path, 6), hidden_size=32, vocab_size=64)
    described(checkpoint.step_folder(tmp_path, 9), hidden_size=16, vocab_size=64)
    ranks = as_rank(0, [9, 1, 6, 1], monkeypatch)
    mine = {"hidden_size": 32, "vocab_size": 64, "num_hidden_layers": 2}
    found = checkpoint.last_good(tmp_path, ranks, mine)
    assert found is not None and found.state.step == 6
    [line] = caplog.messages
    assert line.endswith("step-9: it is of another model, hidden_size=16 and not 32")
    assert checkpoint.saved_steps(tmp_path) == [6]
    assert (tmp_path / "checkpoints" / "step-9.damaged").exists()


def test_a_run_directory_of_another_model_is_refused_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skipping them all would begin anew, in the directory of a model that somebody wants."""
    described(checkpoint.step_folder(tmp_path, 6), hidden_size=32)
    described(checkpoint.step_folder(tmp_path, 9), hidden_size=32)
    ranks = as_rank(0, [9, 1, 6, 1, -1], monkeypatch)
    with pytest.raises(
        InputError, match=r"another model \(hidden_size=32 and not 64\).*other data"
    ):
        checkpoint.last_good(tmp_path, ranks, {"hidden_size": 64})
    assert checkpoint.saved_steps(tmp_path) == [6, 9]


def test_what_was_cut_off_is_removed_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    described(checkpoint.step_folder(tmp_path, 6))
    (tmp_path / "checkpoints" / "step-9.partial").mkdir()
    found = checkpoint.last_good(tmp_path, as_rank(0, [6, 1], monkeypatch), {})
    assert found is not None and found.state.step == 6
    [line] = caplog.messages
    assert line.endswith("step-9.partial: it was not written to its end; it is removed")
    assert [path.name for path in found.folder.parent.iterdir()] == ["step-6"]


def test_a_best_step_without_its_checkpoint_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = checkpoint.RunState(9, "", best_step=6, best_eval_loss=1.0)
    described(checkpoint.step_folder(tmp_path, 6))
    ranks = Ranks(0, 0, 1, 1, torch.device("cpu"), "host")
    monkeypatch.setattr(checkpoint, "from_rank_zero", lambda value, ranks: value)
    assert checkpoint.without_lost_best(state, tmp_path, ranks) == state
    (tmp_path / "checkpoints" / "step-6").rename(tmp_path / "checkpoints" / "step-6.damaged")
    assert checkpoint.without_lost_best(state, tmp_path, ranks) == checkpoint.RunState(9, "")


def test_waiting_ends(tmp_path: Path) -> None:
    assert not checkpoint.appears(tmp_path / "never", seconds=0)
