"""Saving behind training, on a process group of one and torch's own AdamW, as under ZeRO stage 0;
several processes and the other stages: tests/distributed."""

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from llama_gpt4 import publication
from llama_gpt4 import saver as saver_module
from llama_gpt4.checkpoint import Checkpoint, RunState
from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.publication import saved_steps, step_folder
from llama_gpt4.ranks import Ranks
from llama_gpt4.safetensors_file import Outgoing
from llama_gpt4.saver import Saver
from llama_gpt4.staging import KINDS
from llama_gpt4.zero_state import Range

PART = "rank-00000.safetensors"
RANKS = Ranks(0, 0, 1, 1, torch.device("cpu"), "host")


@pytest.fixture(autouse=True, scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store = dist.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def engine() -> Any:
    """What a saver needs of DeepSpeed's under stage 0 in float32: a module and torch's AdamW."""
    torch.manual_seed(0)
    module = torch.nn.Linear(300, 40)
    return SimpleNamespace(module=module, optimizer=torch.optim.AdamW(module.parameters()))


def update(engine: Any) -> None:
    engine.module(torch.randn(8, 300)).square().sum().backward()
    engine.optimizer.step()


def values(checkpoint: Checkpoint, kind: str) -> torch.Tensor:
    found = torch.empty(12_000)
    checkpoint.fill("weight", 0, found, kind)
    return found.view(40, 300)


@pytest.fixture
def config(train_config: Callable[..., TrainConfig]) -> TrainConfig:
    return train_config(**{"train.keep_checkpoints": 2})


def test_training_goes_on_while_a_checkpoint_is_written(
    engine: Any, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next update happens before a byte is on the disk, and is not in the checkpoint."""
    may_write, write_part = threading.Event(), publication.write_part

    def held_back(*arguments: Any) -> None:
        assert may_write.wait(60)
        write_part(*arguments)

    monkeypatch.setattr(publication, "write_part", held_back)
    update(engine)
    with Saver(engine, {"hidden_size": 300}, config, RANKS) as saver:
        weight = engine.module.weight.detach().clone()
        moment = engine.optimizer.state[engine.module.weight]["exp_avg"].clone()
        saver.save(RunState(1, "data", best_step=1, best_eval_loss=2.5, wandb_id="abc"))
        saver.wait_until_copied()
        update(engine)
        assert not torch.equal(engine.module.weight, weight)
        assert saver.reports() == [] and saved_steps(Path(config.run_dir)) == []
        may_write.set()
        saver.finish()
        [report] = saver.reports()
        assert saver.reports() == []
    assert report["saved_step"] == 1
    assert report["save_seconds"] > 0 and report["save_stall_seconds"] > 0
    folder = step_folder(Path(config.run_dir), 1)
    saved = Checkpoint(folder)
    assert saved.state == RunState(1, "data", 1, 2.5, "abc")
    assert saved.architecture == {"hidden_size": 300} and saved.damaged_files() == []
    assert torch.equal(values(saved, "master"), weight)
    assert torch.equal(values(saved, "exp_avg"), moment)
    # Tensors and JSON: nothing that would have to be unpickled.
    assert {path.name for path in folder.iterdir()} == {"manifest.json", PART}
    kinds = {f"{name}:0:{kind}" for name in ("weight", "bias") for kind in KINDS}
    assert load_file(folder / PART).keys() == kinds


def test_a_save_waits_for_the_one_before_and_old_ones_go(
    engine: Any, config: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    update(engine)
    with Saver(engine, {}, config, RANKS) as saver:
        for step in range(1, 5):
            saver.save(RunState(step, "", best_step=1))
        saver.finish()
        assert [report["saved_step"] for report in saver.reports()] == [1, 2, 3, 4]
    assert [line.split(" in ")[0] for line in caplog.messages] == [
        f"saved step {n}" for n in (1, 2, 3, 4)
    ]
    run_dir = Path(config.run_dir)
    assert sorted(os.listdir(run_dir / "checkpoints")) == ["step-1", "step-3", "step-4"]


def test_a_save_that_fails_ends_the_run_in_one_line(engine: Any, config: TrainConfig) -> None:
    update(engine)
    run_dir = Path(config.run_dir)
    with Saver(engine, {}, config, RANKS) as saver:
        saver.save(RunState(1, ""))
        saver.finish()
        with files_of_at_most(100_000), pytest.raises(InputError) as caught:
            saver.save(RunState(2, ""))
            saver.finish()
        assert not saver.has_failed  # it is over with it
    assert str(caught.value) == (
        f"{run_dir}/checkpoints/step-2 cannot be written: File too large. The other "
        "checkpoints are as they were: make room, and the same command resumes from the last"
    )
    assert os.listdir(run_dir / "checkpoints") == ["step-1"]
    assert Checkpoint(step_folder(run_dir, 1)).damaged_files() == []


def test_a_bug_in_the_thread_keeps_its_trace(
    engine: Any, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(engine)
    with Saver(engine, {}, config, RANKS) as saver:
        monkeypatch.setattr(publication, "publish", lambda *arguments: 1 / 0)
        saver.save(RunState(1, ""))
        with pytest.raises(ZeroDivisionError):
            saver.finish()


def test_a_long_write_that_goes_on_is_no_hang(
    engine: Any, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`finish` gives a sign of life for what is written meanwhile; the heartbeat looks for them."""
    monkeypatch.setattr(saver_module, "SIGN_SECONDS", 0.01)
    may_write = threading.Event()

    def slow(folder: Path, rank: int, tensors: list[Outgoing], ranges: list[Range]) -> None:
        assert may_write.wait(60)
        for tensor in tensors:
            moves, until = RANKS.progress.moves, time.monotonic() + 60
            assert sum(piece.numel() for piece in tensor.pieces) in (40, 12_000)
            while RANKS.progress.moves == moves:
                assert time.monotonic() < until
                time.sleep(0.01)
        raise InputError("long enough")

    monkeypatch.setattr(publication, "write_part", slow)
    update(engine)
    with Saver(engine, {}, config, RANKS) as saver:
        saver.save(RunState(1, ""))
        may_write.set()
        with pytest.raises(InputError, match="long enough"):
            saver.finish()


def test_a_run_that_fails_elsewhere_still_gets_its_checkpoint(
    engine: Any, config: TrainConfig
) -> None:
    update(engine)
    with pytest.raises(InputError, match="elsewhere"), Saver(engine, {}, config, RANKS) as saver:
        saver.save(RunState(1, ""))
        raise InputError("elsewhere")
    assert saved_steps(Path(config.run_dir)) == [1]


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Less than a checkpoint has: writing fails in its middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
