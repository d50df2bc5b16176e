"""SPEC section 8 row 25, from end to end at small scale: a model's own answers, scored by a known
rule, teach a reward model; that sorts new answers of the model; and the rule, which it never sees,
finds the groups in their order. A long proof."""

from pathlib import Path

import pytest

from llama_gpt4 import statistics

from ..command import llama_gpt4
from ..data_gen.local_teacher import write_tiny_model
from .known_reward import answered, learn, lines, true_reward

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

N = 5


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
