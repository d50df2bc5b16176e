"""Small random models with a vocabulary like LLaMA's, for tests that ask them something."""

from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM

from llama_gpt4.prompt import CHAT_TEMPLATE
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

TEXT = [
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\nSay hello.\n\n### Response:hello",
    "哪一个？第一个。",
    *(f'so:({letter}) or:"{letter}' for letter in "abcdefghijklmnopqrst"),
]
"""As in LLaMA's own vocabulary, a colon makes pieces with what often follows it."""


def asked_model(folder: Path) -> Path:
    """A folder that `transformers` loads; its weights are the same each time."""
    import torch

    folder.mkdir(parents=True)
    train_tokenizer(TEXT, 400, folder / "tokenizer.model")
    tokenizer = Tokenizer.load(folder)
    tokenizer.save(folder, chat_template=CHAT_TEMPLATE, max_tokens=512)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=1024, initializer_range=0.3,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
