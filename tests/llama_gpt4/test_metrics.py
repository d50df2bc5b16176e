"""metrics.jsonl: what its lines hold, and that a resumed run takes it up where it starts."""

import json
from pathlib import Path

import pytest
import torch

from llama_gpt4.compose import compose_training
from llama_gpt4.metrics import PEAK_BF16_FLOPS, Metrics, peak_flops, peak_memory_bytes
from llama_gpt4.ranks import Ranks

from ..command import train

FIELDS = {
    "step",
    "epoch",
    "loss",
    "learning_rate",
    "grad_norm",
    "target_tokens",
    "tokens",
    "tokens_per_second_per_device",
    "mfu",
    "memory_bytes",
    "data_seconds",
    "step_seconds",
}
"""DESIGN.md section 6: a line of a step."""


def metrics(run_dir: Path, start: int, rank: int = 0) -> Metrics:
    config = compose_training([f"run_dir={run_dir}", "tracking=none"])
    return Metrics(config, Ranks(rank, rank, 2, 2, torch.device("cpu"), "here"), start, 10)


def steps(run_dir: Path) -> list[int]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_a_line_is_on_the_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    pen = metrics(tmp_path, 0)
    pen.write({"step": 1, "loss": 2.5})
    assert steps(tmp_path) == [1]
    pen.close()


def test_a_resumed_run_drops_the_lines_after_its_start(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in range(1, 8)]
    lines.insert(4, json.dumps({"step": 4, "save_stall_seconds": 0.1}))
    file.write_text("\n".join(lines) + "\n")
    pen = metrics(tmp_path, 4)
    pen.write({"step": 5, "loss": 0.5})
    pen.close()
    assert steps(tmp_path) == [1, 2, 3, 4, 4, 5]
    assert json.loads(file.read_text().splitlines()[-1])["loss"] == 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_new_start_drops_what_was_found_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "eval_loss": 7.0}\n{"step": 1}\n')
    pen = metrics(tmp_path, 0)
    pen.write({"step": 0, "eval_loss": 7.0})
    pen.close()
    assert steps(tmp_path) == [0]


@pytest.mark.parametrize("cut", ['{"step": 3, "lo', "{", '{"step": 3'])
def test_a_line_that_a_kill_has_cut_is_dropped(tmp_path: Path, cut: str) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n' + cut)
    pen = metrics(tmp_path, 2)
    pen.write({"step": 3, "loss": 1.0})
    pen.close()
    assert steps(tmp_path) == [1, 2, 3]


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    pen = metrics(tmp_path, 0, rank=1)
    pen.write({"step": 1, "loss": 1.0})
    pen.close()
    assert list(tmp_path.iterdir()) == []


def test_the_peak_is_unknown_on_a_cpu() -> None:
    assert peak_flops(torch.device("cpu")) is None
    assert peak_memory_bytes(torch.device("cpu")) > 2**20


@pytest.mark.parametrize(
    "name, flops",
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA GeForce RTX 3090", None),
    ],
)
def test_a_gpus_peak_goes_by_its_name(
    name: str, flops: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda")) == flops
    assert min(PEAK_BF16_FLOPS.values()) > 1e14


@pytest.mark.e2e
def test_lines_of_a_real_run(tmp_path: Path) -> None:
    share = "data.validation.share=0.1"
    train(tmp_path / "run", "train.steps=2", "train.eval_every_steps=1", share, processes=1)
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    saves = [line for line in lines if "saved_step" in line]
    lines = [line for line in lines if line not in saves]
    assert [next(k for k in ("loss", "eval_loss") if k in line) for line in lines] == [
        *("loss", "eval_loss"), *("loss", "eval_loss"),
    ]  # fmt: skip
    assert [line["step"] for line in lines] == [1, 1, 2, 2]
    for line in lines:
        if "loss" in line:
            assert line.keys() == FIELDS
            assert line["mfu"] is None  # no known peak
            assert 0 < line["target_tokens"] < line["tokens"] <= 1024
            assert 0 <= line["data_seconds"] < line["step_seconds"]
            assert line["tokens_per_second_per_device"] == pytest.approx(
                line["tokens"] / line["step_seconds"]
            )
    assert [line["saved_step"] for line in saves] == [1, 2]
    for line in saves:  # said when the save is done, by when training may have come further
        assert line["saved_step"] <= line["step"] <= 2
        assert line["save_stall_seconds"] >= 0 < line["save_seconds"]
