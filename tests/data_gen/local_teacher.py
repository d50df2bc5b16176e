"""`transformers serve`: a real model behind the OpenAI protocol, on this machine, for tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .ports import free_port, wait_until_healthy

PLAIN_TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""A teacher is sent whole prompts: nothing is to be put around them."""


@dataclass(frozen=True)
class LocalTeacher:
    base_url: str
    model: str
    """What requests call it: the path of its folder."""


def write_tiny_model(folder: Path) -> None:
    """A LLaMA of two layers with random weights, and a tokenizer of the sample records."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from llama_gpt4.records import read_records
    from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

    folder.mkdir()
    texts = [record.output for name in ("en", "zh") for record in read_records(f"sample:{name}")]
    train_tokenizer(texts, 1024, folder / "tokenizer.model")
    tokenizer = Tokenizer.load(folder)
    tokenizer.save(folder, chat_template=PLAIN_TEMPLATE, max_tokens=1024)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


@contextmanager
def running_local_teacher(model: Path, scratch: Path) -> Iterator[LocalTeacher]:
    """Serve the model in the folder `model`; caches and the log go to `scratch`."""
    port, home = free_port(), scratch / "hf_home"
    home.mkdir()  # without it the server answers /v1/models with 500
    program = str(Path(sys.executable).with_name("transformers"))
    command = [program, "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--device", "cpu", "--dtype", "float32"]
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    with open(scratch / "serve.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process, scratch / "serve.log")
        yield LocalTeacher(f"http://127.0.0.1:{port}/v1", str(model.resolve()))
    finally:
        process.terminate()
        process.wait()
