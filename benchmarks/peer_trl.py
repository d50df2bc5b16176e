"""One rank of TRL's SFTTrainer under ZeRO-3 on the CPU, for `train_cpu.py` to watch.

It gets the records already tokenised and writes one JSON line a step, as our trainer does; clock,
CPU seconds and memory are read from outside, the same way for both.
"""

import argparse
import json
import os
import warnings
from pathlib import Path
from typing import Any

os.environ["DS_ACCELERATOR"] = "cpu"
# Our trainer keeps quiet about these, too: one line a collective is a cost that TRL need not have.
warnings.filterwarnings("ignore", category=FutureWarning)

import deepspeed  # noqa: E402
import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoTokenizer, TrainerCallback  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402


def main() -> None:
    parser = peer_parser()
    parser.add_argument("--row-tokens", type=int, required=True)
    parser.add_argument("--float32-matmul", required=True)
    arguments = parser.parse_args()
    begin(arguments.float32_matmul)
    only_answers = {"max_length": arguments.row_tokens, "completion_only_loss": True}
    trainer = SFTTrainer(
        model=arguments.model,
        args=SFTConfig(**peer_settings(arguments) | only_answers | arguments.settings),
        train_dataset=examples(arguments),
        processing_class=AutoTokenizer.from_pretrained(arguments.tokenizer),
        callbacks=[StepLines(arguments.run_dir / "metrics.jsonl")],
    )
    trainer.train()


def peer_parser() -> argparse.ArgumentParser:
    """What any trainer of TRL is told here."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--examples", type=Path, required=True, help="JSONL of tokenised examples")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--settings", type=json.loads, required=True, help="more of its config")
    parser.add_argument("--deepspeed", type=json.loads, required=True)
    return parser


def begin(float32_matmul: str) -> None:
    # Compiled on first use and not used by training; ours leaves it out as well.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    torch.set_float32_matmul_precision(float32_matmul)


def examples(arguments: argparse.Namespace) -> Dataset:
    lines = arguments.examples.read_text().splitlines()
    return Dataset.from_list([json.loads(line) for line in lines])


def peer_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The plain settings that both sides share."""
    return {
        "output_dir": str(arguments.run_dir),
        "max_steps": arguments.steps,
        "model_init_kwargs": {"dtype": "float32", "attn_implementation": "sdpa"},
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "optim": "adamw_torch_fused",
        "learning_rate": 1e-4,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "deepspeed": arguments.deepspeed,
    }


class StepLines(TrainerCallback):
    """Writes a line of `step`, `loss` and `tokens` (TRL's own count, without padding) each step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0.0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if not state.is_world_process_zero or "loss" not in logs:
            return
        tokens = logs["num_tokens"] - self._seen
        self._seen = logs["num_tokens"]
        with open(self._path, "a") as file:
            line = {"step": state.global_step, "loss": float(logs["loss"]), "tokens": tokens}
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
