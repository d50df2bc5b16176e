"""What the tests of training on comparisons share: configurations, comparisons, and a tiny OPT with
the tokenizer of its kind."""

import json
from pathlib import Path
from typing import Any

from llama_gpt4_data.dpo_config import DpoConfig
from llama_gpt4_data.reward_config import RewardConfig

from llama_gpt4.compose import compose_run

ON_CPU = (
    "tracking=none",
    "data.row_tokens=256",
    "data.validation.share=0",
    "launch.device=cpu",
)
SMALL = (
    *ON_CPU,
    "model.n_layers=2",
    "model.hidden_size=32",
    "model.feed_forward_size=64",
    "tokenizer.vocab_size=512",
)
TEXTS = ["What is the colour of the sky?", "Blue, on a clear day.", "No idea.", "天空是蓝色的。"]


def reward_config(folder: Path, *overrides: str) -> RewardConfig:
    """A run in `folder` that takes moments."""
    places = [f"run_dir={folder}/run", f"data.cache_dir={folder}/cache"]
    config = compose_run("reward", [*SMALL, *places, *overrides])
    assert isinstance(config, RewardConfig)
    return config


def dpo_config(folder: Path, llama: Path, *overrides: str) -> DpoConfig:
    """A run in `folder` that starts from `llama` and takes moments."""
    places = [f"model.path={llama}", f"run_dir={folder}/run", f"data.cache_dir={folder}/cache"]
    config = compose_run("dpo", [*ON_CPU, *places, *overrides])
    assert isinstance(config, DpoConfig)
    return config


def on_opt(opt: Path) -> list[str]:
    """Overrides for a backbone of `transformers`."""
    sizes = ("n_layers", "hidden_size", "feed_forward_size")
    return ["model=from_path", f"model.path={opt}", *(f"model.{key}=null" for key in sizes)]


def scored(prompt: str, *answers: tuple[str, float | None], source: str = "gpt4") -> dict[str, Any]:
    """A record in the layout of comparison_data_v2.json."""
    entries = [{"response": text, "source": source, "score": score} for text, score in answers]
    return {"user_input": prompt, "responses_and_scores": entries}


def write(folder: Path, records: Any, name: str = "comparisons.json") -> str:
    path = folder / name
    path.write_text(json.dumps(records, ensure_ascii=False))
    return str(path)


def many(n: int) -> list[dict[str, Any]]:
    """`n` prompts with two to four responses of several lengths and some ties."""
    return [
        scored(
            f"Question number {i}?",
            *((f"Answer {k} " + "and so on " * ((i + k) % 3), float(9 - (k * (i % 4)) % 7))
              for k in range(2 + i % 3)),
            ("The worst.", 1.0),
        )
        for i in range(n)
    ]  # fmt: skip


def write_tiny_opt(folder: Path) -> Path:
    """An OPT with random weights, whose BOS is its EOS, in Hugging Face format."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="</s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        init_std=0.2,
    )
    OPTForCausalLM(config).save_pretrained(folder)
    return folder


def bench(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Records in RewardBench's format, so many of each subset."""
    return [
        {
            "prompt": f"Question {number} of {subset}?",
            "chosen": f"The better answer, {number}.",
            "chosen_model": "gpt4",
            "rejected": f"A worse answer {'and so on ' * (number % 3)}",
            "rejected_model": "alpaca",
            "subset": subset,
            "id": number,
        }
        for subset, n in counts.items()
        for number in range(n)
    ]
