"""A run directory as a training leaves it, with a tiny model, for tests that only read it."""

import json
from pathlib import Path

from llama_gpt4.compose import compose_run
from llama_gpt4.export import run as export
from llama_gpt4.frozen_config import freeze
from llama_gpt4.program import ExitReport
from llama_gpt4.prompt import CHAT_TEMPLATE
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

from .test_export import save_checkpoint

COUNTS = {
    "fingerprint": "ab" * 32,
    "vocab_size": 101,
    "train": {
        "read": 230,
        "used": 229,
        "dropped": {"empty_output": 1, "too_long": 0},
        "findings": {"empty_output": {"policy": "drop", "found": 1, "records": []}},
        "sources": [{"file": "/home/anna/tasks.json", "read": 230, "used": 229, "language": "en"}],
        "languages": {"en": {"tokens_per_character": 0.2468013}},
    },
    "validation": None,
}
STEPS = [
    {"step": 1, "epoch": 0.5, "loss": 4.5},
    {"step": 1, "save_stall_seconds": 0.1},
    {"step": 2, "epoch": 1.0, "loss": 0.25},
    {"step": 2, "epoch": 1.0, "eval_loss": 0.75},
]


def finished_run(run_dir: Path, *overrides: str, program: str = "train") -> Path:
    freeze(compose_run(program, [f"run_dir={run_dir}", "tracking=none", *overrides]))
    (run_dir / "data.json").write_text(json.dumps(COUNTS))
    lines = "".join(json.dumps(line) + "\n" for line in STEPS)
    (run_dir / "metrics.jsonl").write_text(lines + '{"step": 3, "lo')  # killed while it wrote
    save_checkpoint(run_dir)
    train_tokenizer(["a b c"], 300, run_dir / "tokenizer.model")
    tokenizer = Tokenizer.load(run_dir / "tokenizer.model")
    tokenizer.save(run_dir / "tokenizer", chat_template=CHAT_TEMPLATE, max_tokens=64)
    export([f"run_dir={run_dir}", "shard_bytes=20000"], ExitReport())
    return run_dir
