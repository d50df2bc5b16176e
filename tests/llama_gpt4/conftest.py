"""Fixtures of this folder: configurations from plain values, and files of records."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from llama_gpt4.config import TrainConfig
from llama_gpt4.data_config import DataConfig, DataPolicy, ValidationConfig
from llama_gpt4.prompt import render_prompt
from llama_gpt4.records import read_records

VALUES: dict[str, Any] = {
    "program": "train",
    "name": "test",
    "run_dir": "",  # below tmp_path
    "seed": 42,
    "deterministic": False,
    "model": {
        "path": None,
        "n_layers": 2,
        "hidden_size": 32,
        "feed_forward_size": 64,
        "n_heads": 4,
        "n_kv_heads": 2,
        "max_positions": 2048,
        "rope_theta": 10000.0,
        "norm_eps": 1e-6,
        "tie_embeddings": False,
        "initializer_std": 0.02,
        "kernels": "reference",
        "attention": "sdpa",
        "recompute": "none",
    },
    "tokenizer": {"path": None, "vocab_size": 1024},
    "data": {
        "files": ["sample:en"],
        "weights": [],
        "row_tokens": 512,
        "policy": {
            "broken_record": "error",
            "empty_output": "drop",
            "cut_output": "drop",
            "cut_start": "keep",
            "placeholder_input": "keep",
            "wrong_language": "keep",
            "evaluation_overlap": "drop",
            "prompt_fills_row": "drop",
            "too_long": "drop",
            "duplicate": "drop",
            "same_prompt": "keep",
        },
        "decontaminate": [],
        "decontaminate_rouge_l": 0.7,
        "batching": "pack",
        "last_window": "keep",
        "cache_dir": "",  # below tmp_path
        "validation": {"files": [], "share": 0.0},
    },
    "batch": {"tokens_per_step": None, "examples_per_step": None, "rows_per_micro_step": 2},
    "loss": {"normalisation": "global_tokens"},
    "optim": {
        "lr": 1e-3,
        "betas": [0.9, 0.95],
        "eps": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
    },
    "schedule": {"kind": "cosine", "warmup_frac": 0.1, "steps": None},
    "precision": {"dtype": "float32", "float32_matmul": "highest"},
    "zero": {
        "stage": 3,
        "hpz_processes": 1,
        "offload_optimizer": False,
        "offload_parameters": False,
        "deepspeed": {},
    },
    "train": {
        "epochs": 1,
        "steps": None,
        "log_every_steps": 1,
        "eval_every_steps": 0,
        "save_every_steps": 0,
        "keep_checkpoints": 1,
        "keep_checkpoint_bytes": None,
        "dry": False,
    },
    "tracking": {
        "kind": "none",
        "project": "test",
        "group": None,
        "tags": [],
    },
    "evaluation": {"questions": None, "n_questions": 2, "answer_tokens": 8},
    "launch": {"processes": 1, "device": "cpu", "timeout_minutes": 5, "hang_seconds": 60},
}


@pytest.fixture
def train_config(tmp_path: Path) -> Callable[..., TrainConfig]:
    """Make a `TrainConfig`; changes are dotted keys: `train_config(**{"data.row_tokens": 64})`.

    Four rows make a step unless `batch` says otherwise.
    """

    def make(**changes: Any) -> TrainConfig:
        values = copy.deepcopy(VALUES)
        values["run_dir"] = str(tmp_path / "run")
        values["data"]["cache_dir"] = str(tmp_path / "cache")
        for dotted, value in changes.items():
            *sections, key = dotted.split(".")
            node = values
            for section in sections:
                node = node[section]
            assert key in node, f"{dotted} is not a key"
            node[key] = value
        packs = values["data"]["batching"] == "pack"
        size, rows = ("tokens_per_step", 4 * values["data"]["row_tokens"])
        if not packs:
            size, rows = "examples_per_step", 4
        if f"batch.{size}" not in changes:
            values["batch"][size] = rows
        return _to_config(values)

    return make


def _to_config(values: dict[str, Any]) -> TrainConfig:
    data = dict(values["data"])
    data["validation"] = ValidationConfig(**data["validation"])
    data["policy"] = DataPolicy(**data["policy"])
    sections = get_type_hints(TrainConfig)
    return TrainConfig(
        **{
            key: value if not isinstance(value, dict) else sections[key](**value)
            for key, value in values.items()
            if key != "data"
        },
        data=DataConfig(**data),
    )


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer trained once on the bilingual sample; most tests need no other."""
    from llama_gpt4.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    records = read_records("sample:en") + read_records("sample:zh")
    texts = [render_prompt(r.instruction, r.input) for r in records]
    train_tokenizer(texts + [r.output for r in records], 1024, folder / "tokenizer.model")
    return folder


@pytest.fixture
def config_for(
    train_config: Callable[..., TrainConfig], tokenizer_folder: Path
) -> Callable[..., TrainConfig]:
    """`train_config` with the session's tokenizer."""

    def make(**changes: Any) -> TrainConfig:
        return train_config(**{"tokenizer.path": str(tokenizer_folder), **changes})

    return make


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[..., str]:
    """Write a value as a JSON file below tmp_path and give its path."""

    def write(value: Any, name: str = "records.json") -> str:
        path = tmp_path / name
        path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        return str(path)

    return write
