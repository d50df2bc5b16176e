"""One rank of TRL's RewardTrainer under ZeRO-3 on the CPU, for `reward_cpu.py` to watch.

It gets pairs already tokenised, in the order in which they are to be trained on, and writes one
JSON line a step, as our trainer does.
"""

# First: it sets the accelerator that DeepSpeed finds.
from peer_trl import StepLines, begin, examples, peer_parser, peer_settings

from transformers import AutoTokenizer  # isort: skip
from trl import RewardConfig, RewardTrainer


def main() -> None:
    arguments = peer_parser().parse_args()
    begin("highest")
    in_order = {
        "max_length": None,
        "train_sampling_strategy": "sequential",
        "pad_token": "<unk>",
    }
    trainer = RewardTrainer(
        model=arguments.model,
        args=RewardConfig(**peer_settings(arguments) | in_order | arguments.settings),
        train_dataset=examples(arguments),
        processing_class=AutoTokenizer.from_pretrained(arguments.tokenizer),
        callbacks=[StepLines(arguments.run_dir / "metrics.jsonl")],
    )
    trainer.train()


if __name__ == "__main__":
    main()
