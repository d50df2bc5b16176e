"""Who may import whom, and that every configuration key is read by some code."""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
from llama_gpt4_data.dpo_config import DpoConfig
from llama_gpt4_data.reward_config import RewardConfig

from llama_gpt4.config import TrainConfig
from llama_gpt4.data_config import DataPolicy

ROOT = Path(__file__).parents[1]
ROOMS = {
    "llama_gpt4": ROOT / "llama_gpt4",
    "llama_gpt4_data": ROOT / "data_gen" / "llama_gpt4_data",
    "llama_gpt4_kernels": ROOT / "kernels" / "llama_gpt4_kernels",
    "llama_gpt4_launch": ROOT / "launch" / "llama_gpt4_launch",
}
ALLOWED = {
    "llama_gpt4": {"llama_gpt4", "llama_gpt4_kernels"},
    "llama_gpt4_data": {"llama_gpt4", "llama_gpt4_data"},
    "llama_gpt4_kernels": {"llama_gpt4_kernels"},
    "llama_gpt4_launch": {"llama_gpt4", "llama_gpt4_launch"},
}
TORCH_FREE = {
    "architecture", "batches", "cache", "compose", "config", "data_config", "deepspeed_config",
    "errors", "examples", "files", "frozen_config", "help", "hub", "mixture", "overrides",
    "prepare", "program", "programs", "prompt", "records", "schedule",
}  # fmt: skip
"""What the front door may know of `llama_gpt4`."""
DECLARING = {
    "config", "data_config", "model_config", "step_config", "reward_config", "dpo_config",
}  # fmt: skip
"""Modules that declare keys; to check one there is not to read it."""


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for path in ROOMS[room].rglob("*.py"):
        ours = {name.split(".")[0] for name in imported(path) if name.startswith("llama_gpt4")}
        assert ours <= ALLOWED[room], f"{path} imports {ours - ALLOWED[room]}"


def test_the_front_door_knows_only_what_needs_no_torch() -> None:
    for path in ROOMS["llama_gpt4_launch"].rglob("*.py"):
        for name in imported(path):
            package, _, module = name.partition(".")
            assert package != "llama_gpt4" or module in TORCH_FREE, f"{path} imports {name}"


def test_kernels_know_torch_and_triton_only() -> None:
    known = {"torch", "triton", "llama_gpt4_kernels", *sys.stdlib_module_names}
    for path in ROOMS["llama_gpt4_kernels"].rglob("*.py"):
        foreign = {name.split(".")[0] for name in imported(path)} - known
        assert not foreign, f"{path} imports {foreign}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_has_its_tests(room: str) -> None:
    folder = ROOMS[room].parent.name if room != "llama_gpt4" else room
    tested_elsewhere = {
        "__init__", "errors", "engine", "ranks", "train", "checkpoint", "zero_state",
        "reference", "fused", "failures", "programs", "dpo_reference",
    }  # fmt: skip  # they need processes: tests/distributed and tests/e2e
    for path in ROOMS[room].rglob("*.py"):
        if path.stem not in tested_elsewhere:
            inner = path.parent.relative_to(ROOMS[room])
            assert (ROOT / "tests" / folder / inner / f"test_{path.stem}.py").exists(), path


def keys(schema: type) -> Iterator[str]:
    hints = get_type_hints(schema)
    for field in fields(schema):
        kind = hints[field.name]
        if kind is DataPolicy:
            continue  # its keys are the names of the rules: test_audit.py
        if is_dataclass(kind) and isinstance(kind, type):
            yield from keys(kind)
        else:
            yield field.name


@pytest.mark.parametrize("key", sorted({*keys(TrainConfig), *keys(RewardConfig), *keys(DpoConfig)}))
def test_every_key_is_read(key: str) -> None:
    code = "\n".join(
        path.read_text()
        for folder in ROOMS.values()
        for path in folder.rglob("*.py")
        if path.stem not in DECLARING
    )
    # The rows of a step and of a forward pass are derived beside the keys that they come from.
    derived = "".join(
        inspect.getsource(size.fget)
        for schema in (TrainConfig, RewardConfig)
        for size in (schema.rows_per_step, schema.rows_per_micro_step)
    )
    assert re.search(rf"\.{key}\b", code + derived), f"nothing reads {key}"
