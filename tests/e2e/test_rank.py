"""SPEC section 8 row 25, from end to end at small scale: a model's own answers, scored by a known
rule, teach a reward model; that sorts new answers of the model; and the rule, which it never sees,
finds the groups in their order. A long proof."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from llama_gpt4 import answer, statistics

from ..command import llama_gpt4
from ..data_gen.local_teacher import write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

N = 5
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
    folder: Path, name: str, questions: Sequence[str], samples: int
) -> list[dict[str, str]]:
    """`folder/name.jsonl` with answers of the model in `folder/model`, drawn anew by name."""
    asked = folder / f"{name}.json"
    asked.write_text(json.dumps([{"question_id": q, "text": q} for q in questions]))
    options = ["decoding=paper", "decoding.max_new_tokens=24", "batch_size=256", "device=cpu"]
    files = [f"questions={asked}", f"output={folder / f'{name}.jsonl'}"]
    options += [f"samples={samples}", f"seed={len(name)}", f"model={folder / 'model'}"]
    assert answer.main([*files, *options]) == 0
    return lines(folder / f"{name}.jsonl")


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def learn(folder: Path, answers: Sequence[dict[str, str]]) -> Path:
    """A reward model that has seen the rule's scores of `answers`."""
    scored: dict[str, list[dict[str, object]]] = {}
    for line in answers:
        score = min(10.0, 1 + true_reward(line["answer"]))
        entry = {"response": line["answer"], "source": "policy", "score": score}
        scored.setdefault(line["question"], []).append(entry)
    comparisons = [{"user_input": q, "responses_and_scores": own} for q, own in scored.items()]
    (folder / "scored.json").write_text(json.dumps(comparisons))
    files = [f"data.files=[{folder}/scored.json]", f"data.cache_dir={folder}/cache"]
    done = llama_gpt4("reward", *REWARD, *files, f"run_dir={folder}/reward")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "reward" / "model"


def test_the_groups_of_a_known_reward_are_in_their_order(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model")
    reward_model = learn(
        tmp_path, answered(tmp_path, "seen", [f"Seen {i}?" for i in range(160)], 4)
    )
    new = [f"New {i}?" for i in range(200)]
    answered(tmp_path, "several", new, N)
    answered(tmp_path, "ordinary", new, 1)
    done = llama_gpt4(
        "rank",
        f"model={reward_model}",
        f"answers={tmp_path}/several.jsonl",
        f"baseline={tmp_path}/ordinary.jsonl",
        f"output_dir={tmp_path}/ranked",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    groups = {name: lines(tmp_path / "ranked" / f"{name}.jsonl") for name in groups_of(N)}
    assert [line["question"] for line in groups["B"]] == [line["question"] for line in groups["R1"]]
    truth = {
        name: [true_reward(line["answer"]) for line in group] for name, group in groups.items()
    }
    means = {name: sum(of) / len(of) for name, of in truth.items()}
    print(means)
    by_rank = [means[f"R{k}"] for k in range(1, N + 1)]
    assert by_rank == sorted(set(by_rank), reverse=True), means
    for better, worse in (("R1", "B"), ("B", f"R{N}"), ("R1", f"R{N}")):
        pairs = zip(truth[better], truth[worse], strict=True)
        lead = statistics.mean([one - other for one, other in pairs])
        print(f"{better} - {worse}: {lead}")
        assert lead.low > 0, (better, worse, lead)


def groups_of(n: int) -> list[str]:
    return [*(f"R{k}" for k in range(1, n + 1)), "B"]
