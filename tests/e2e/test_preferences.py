"""Training with the reward raises it: by learning the best of several answers, and by DPO. A known
rule scores the answers of a model that has seen none of this; it finds more of what it likes in
those of the trained one. Long proofs."""

from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

from llama_gpt4 import statistics

from ..command import llama_gpt4
from ..data_gen.local_teacher import write_tiny_model
from .known_reward import answered, learn, true_reward, write_scored

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NEW = [f"New {i}?" for i in range(200)]
ON_CPU = ("tracking=none", "data.row_tokens=256", "launch.device=cpu", "launch.processes=2")


def rise(folder: Path, run: str) -> statistics.Estimate:
    """How much more of the rule's reward the model of `run` gets than the start, over questions
    that nobody has trained on; both draw by the same numbers."""
    means = []
    for name, model in (("from-start", "model"), ("from-tuned", f"{run}/model")):
        found: dict[str, list[float]] = defaultdict(list)
        for line in answered(folder, name, NEW, 4, model):
            found[line["question"]].append(true_reward(line["answer"]))
        means.append([fmean(found[question]) for question in NEW])
    start, tuned = means
    print(f"{run}: {fmean(start):.3f} before, {fmean(tuned):.3f} after")
    return statistics.mean([after - before for before, after in zip(start, tuned, strict=True)])


def test_the_best_of_several_answers_are_worth_learning(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model")
    seen = answered(tmp_path, "seen", [f"Seen {i}?" for i in range(160)], 4)
    reward_model = learn(tmp_path, seen)
    answered(tmp_path, "several", [f"Several {i}?" for i in range(400)], 8)
    done = llama_gpt4(
        "rank", f"model={reward_model}", f"answers={tmp_path}/several.jsonl",
        f"output_dir={tmp_path}/ranked",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    done = llama_gpt4(
        "train", *ON_CPU, "model=from_path", f"model.path={tmp_path}/model",
        f"data.files=[{tmp_path}/ranked/R1.jsonl]", f"data.cache_dir={tmp_path}/cache",
        f"run_dir={tmp_path}/learned", "optim.lr=3e-4",
        # Long enough to learn what the best have in common, too short to know them by heart.
        "train.steps=100", "schedule.steps=100",
        "data.policy.cut_output=keep",  # random weights hardly ever end an answer
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = rise(tmp_path, "learned")
    print(found)
    assert found.low > 0, found


def test_preferences_raise_the_reward_that_they_follow(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model")
    seen = answered(tmp_path, "seen", [f"Seen {i}?" for i in range(160)], 4)
    done = llama_gpt4(
        "dpo", *ON_CPU, f"model.path={tmp_path}/model",
        f"data.files=[{write_scored(tmp_path, seen)}]", f"data.cache_dir={tmp_path}/cache",
        "data.validation.share=0", f"run_dir={tmp_path}/preferring", "optim.lr=1e-3",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = rise(tmp_path, "preferring")
    print(found)
    assert found.low > 0, found
