"""One rank of TRL's RewardTrainer under ZeRO-3 on the CPU, for `reward_cpu.py` to watch.

It gets pairs already tokenised, in the order in which they are to be trained on, and writes one
JSON line a step, as our trainer does.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from peer_trl import StepLines  # first: it sets the accelerator that DeepSpeed finds

import deepspeed  # isort: skip
import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import RewardConfig, RewardTrainer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--pairs", type=Path, required=True, help="JSONL: chosen, rejected ids")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--settings", type=json.loads, required=True, help="more of RewardConfig")
    parser.add_argument("--deepspeed", type=json.loads, required=True)
    arguments = parser.parse_args()

    # Compiled on first use and not used by training; ours leaves it out as well.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    torch.set_float32_matmul_precision("highest")
    pairs = [json.loads(line) for line in arguments.pairs.read_text().splitlines()]
    trainer = RewardTrainer(
        model=arguments.model,
        args=configuration(arguments),
        train_dataset=Dataset.from_list(pairs),
        processing_class=AutoTokenizer.from_pretrained(arguments.tokenizer),
        callbacks=[StepLines(arguments.run_dir / "metrics.jsonl")],
    )
    trainer.train()


def configuration(arguments: argparse.Namespace) -> RewardConfig:
    shared: dict[str, Any] = {
        "output_dir": str(arguments.run_dir),
        "max_steps": arguments.steps,
        "max_length": None,
        "train_sampling_strategy": "sequential",
        "pad_token": "<unk>",
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
    return RewardConfig(**shared | arguments.settings)


if __name__ == "__main__":
    main()
