"""How a checkpoint comes to be on the disk, and goes."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from llama_gpt4 import publication
from llama_gpt4.errors import InputError
from llama_gpt4.publication import Kept, remove_old, saved_steps, step_folder
from llama_gpt4.safetensors_file import Outgoing
from llama_gpt4.zero_state import Range

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of two ranks that save step 2 beside step 1, one is killed: at every point of both."""
    command = [sys.executable, HERE / "publication_worker.py", tmp_path_factory.mktemp("kills")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_kill_at_any_point_leaves_a_good_checkpoint(
    kills: list[dict[str, Any]], victim: int
) -> None:
    mine = [kill for kill in kills if kill["victim"] == victim]
    assert [kill["point"] for kill in mine] == list(range(len(mine))) and len(mine) >= 8
    assert all(kill["right"] and kill["whole"] for kill in mine), mine
    # Step 1 up to some point, step 2 from there on; rank 1 has no part in that.
    steps = [kill["step"] for kill in mine]
    assert steps == sorted(steps)
    assert set(steps) == ({1, 2} if victim == 0 else {1})


def test_after_a_kill_the_next_save_goes_through_and_nothing_is_left(
    kills: list[dict[str, Any]],
) -> None:
    assert all(kill["after"] == ["step-3"] for kill in kills)
    # The kills were real: some came to a folder half written, some to one half removed.
    assert {"step-1", "step-2.partial"} in [set(kill["names"]) for kill in kills]
    assert {"step-1.partial", "step-2"} in [set(kill["names"]) for kill in kills]


def save(run_dir: Path, step: int, n: int = 10) -> None:
    folder = step_folder(run_dir, step)
    tensor = Outgoing("weight:0:master", torch.float32, (n,), [torch.zeros(n)])
    publication.write_part(folder, 0, [tensor], [Range("weight", 0, n)])
    publication.publish(folder, {}, 1, 60, threading.Event())


@pytest.mark.parametrize(
    "kept, stay",
    [
        (Kept(2, None, None), [4, 5]),
        (Kept(2, None, best_step=1), [1, 4, 5]),
        (Kept(2, None, best_step=5), [4, 5]),
        (Kept(9, None, None), [1, 2, 3, 4, 5]),
        (Kept(9, 3, None), [3, 4, 5]),
        (Kept(2, 3, None), [4, 5]),
        (Kept(9, 3, best_step=2), [2, 4, 5]),
        (Kept(9, 1, best_step=2), [2, 5]),
        (Kept(9, 0, None), [5]),
    ],
)
def test_old_checkpoints_go_by_count_and_by_bytes(
    tmp_path: Path, kept: Kept, stay: list[int]
) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    if kept.n_bytes is not None:  # the case counts checkpoints
        one = sum(path.stat().st_size for path in step_folder(tmp_path, 1).iterdir())
        kept = Kept(kept.n, kept.n_bytes * one + one // 2, kept.best_step)
    remove_old(tmp_path, kept)
    assert saved_steps(tmp_path) == stay
    assert len(list((tmp_path / "checkpoints").iterdir())) == len(stay)


def test_a_part_that_does_not_come_is_named(tmp_path: Path) -> None:
    folder = step_folder(tmp_path, 3)
    publication.write_part(folder, 0, [], [])
    with pytest.raises(InputError, match=r"step-3 was not published: rank-00001.*has not come"):
        publication.publish(folder, {}, 2, 0.0, threading.Event())
    assert saved_steps(tmp_path) == []


def test_who_waits_for_a_part_can_be_told_that_it_will_not_come(tmp_path: Path) -> None:
    folder, cancelled = step_folder(tmp_path, 3), threading.Event()
    publication.write_part(folder, 0, [], [])
    cancelled.set()
    with pytest.raises(InputError, match="was not published"):
        publication.publish(folder, {}, 2, 600.0, cancelled)


def test_a_checkpoint_that_the_start_did_not_see_makes_room(tmp_path: Path) -> None:
    """A network file system may show an old state of a folder: then steps are taken again."""
    save(tmp_path, 3, n=10)
    save(tmp_path, 3, n=20)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-3", "step-3.damaged",
    ]  # fmt: skip
    manifest = json.loads((step_folder(tmp_path, 3) / "manifest.json").read_text())
    assert manifest["files"]["rank-00000.safetensors"]["ranges"] == [["weight", 0, 20]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system to fill")
def test_a_full_disk_is_one_line_and_what_was_there_stays(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this system does not let root mount a file system")
    try:
        save(tmp_path, 3, n=10_000)
        with pytest.raises(InputError, match=r"step-6 cannot be written: No space left on device"):
            save(tmp_path, 6, n=100_000)
        publication.discard(step_folder(tmp_path, 6))
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-3"]
        save(tmp_path, 9, n=10_000)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
