"""What the long proofs share: a rule that is known, answers of a tiny model, and a reward model
that has learned the rule from its scores."""

import json
from collections.abc import Sequence
from pathlib import Path

from llama_gpt4 import answer

from ..command import llama_gpt4

REWARD = (
    "tracking=none",
    "model.n_layers=1",
    "model.hidden_size=32",
    "model.feed_forward_size=64",
    "tokenizer.vocab_size=1024",
    "data.row_tokens=256",
    "data.validation.share=0",
    "optim.lr=3e-3",
    "train.epochs=6",
    "train.eval_every_steps=0",
    "launch.device=cpu",
    "launch.processes=1",
)


def true_reward(text: str) -> float:
    """Which one can know of a text of random pieces."""
    return float(text.count("e"))


def answered(
    folder: Path, name: str, questions: Sequence[str], samples: int, model: str = "model"
) -> list[dict[str, str]]:
    """`folder/name.jsonl` with answers of `folder/model`, drawn anew by the length of `name`."""
    asked = folder / f"{name}.json"
    asked.write_text(json.dumps([{"question_id": q, "text": q} for q in questions]))
    options = ["decoding=paper", "decoding.max_new_tokens=24", "batch_size=256", "device=cpu"]
    files = [f"questions={asked}", f"output={folder / f'{name}.jsonl'}"]
    options += [f"samples={samples}", f"seed={len(name)}", f"model={folder / model}"]
    assert answer.main([*files, *options]) == 0
    return lines(folder / f"{name}.jsonl")


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_scored(folder: Path, answers: Sequence[dict[str, str]]) -> Path:
    """`answers` as comparisons with the rule's scores."""
    scored: dict[str, list[dict[str, object]]] = {}
    for line in answers:
        score = min(10.0, 1 + true_reward(line["answer"]))
        entry = {"response": line["answer"], "source": "policy", "score": score}
        scored.setdefault(line["question"], []).append(entry)
    comparisons = [{"user_input": q, "responses_and_scores": own} for q, own in scored.items()]
    (folder / "scored.json").write_text(json.dumps(comparisons))
    return folder / "scored.json"


def learn(folder: Path, answers: Sequence[dict[str, str]]) -> Path:
    """A reward model that has seen the rule's scores of `answers`."""
    files = [f"data.files=[{write_scored(folder, answers)}]", f"data.cache_dir={folder}/cache"]
    done = llama_gpt4("reward", *REWARD, *files, f"run_dir={folder}/reward")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "reward" / "model"
