"""Conversations that were learned are held again, turn for turn. A long proof.

A later question says too little to be answered by itself, so its answer has to come from what was
said before, under the ids that the turns had in training.
"""

import json
import subprocess
from pathlib import Path

import pytest

from ..command import CLI, ENVIRONMENT, llama_gpt4

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROLES = ("user", "assistant")
CHATS = (
    ("Name a tree.", "An oak.", "Another?", "A hazel."),
    ("Name a river.", "The Elbe.", "Another?", "The Rhine."),
    ("说出一种树。", "橡树。", "还有呢？", "白桦树。", "还有呢？", "菩提树。"),
    ("Count.", "1 2 3", "On.", "4 5 6", "On.", "7 8 9"),
)


def test_what_was_learned_is_said_again(tmp_path: Path) -> None:
    records = [
        {"messages": [{"role": ROLES[i % 2], "content": text} for i, text in enumerate(chat)]}
        for chat in CHATS
    ]
    data, run_dir = tmp_path / "chats.json", tmp_path / "run"
    data.write_text(json.dumps(records * 4, ensure_ascii=False), "utf-8")
    trained = llama_gpt4(
        "train", f"data.files=[{data}]", "data.policy.duplicate=keep", "tokenizer.vocab_size=400",
        "train.steps=120", "schedule.steps=120", "optim.lr=3e-3", f"run_dir={run_dir}",
        f"data.cache_dir={tmp_path}/cache", "launch.processes=2", "launch.device=cpu",
        "tracking=none",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stdout + trained.stderr
    typed = "/new\n".join("".join(f"{text}\n" for text in chat[::2]) for chat in CHATS)
    chat_with = [*CLI, "chat", f"model={run_dir}/model", "decoding.temperature=0", "device=cpu"]
    said = subprocess.run(
        chat_with, input=typed, capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == [text for chat in CHATS for text in chat[1::2]]
