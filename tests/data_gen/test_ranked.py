"""Groups as files: each is one model's answers, the best of each question in R1."""

import numpy as np
from llama_gpt4_data.ranked import Ranked, answer_lines, ranked, reward_lines

from llama_gpt4.answer_lines import LINE_KEYS

from .ranking import candidates

ASKED = candidates(["a0", "a1", "a2"], ["b0", "b1", "b2"])
REWARDS = np.array([[1.0, 3.0, 2.0, 9.0], [5.0, 5.0, 7.0, 0.0]])


def with_baseline() -> Ranked:
    return ranked(ASKED, [own[0] for own in (each.answers for each in candidates(["x"], ["y"]))],
                  REWARDS)  # fmt: skip


def test_every_question_gives_its_k_th_best() -> None:
    found = ranked(ASKED, None, REWARDS[:, :3])
    assert [[a.text for a in group.answers] for group in found.groups] == [
        ["a1", "b2"],
        ["a2", "b0"],
        ["a0", "b1"],
    ]
    assert found.rewards.tolist() == [[3, 2, 1], [7, 5, 5]]
    assert [group.name for group in found.all_groups] == ["R1", "R2", "R3"]


def test_the_baseline_takes_no_part_in_the_order() -> None:
    found = with_baseline()
    assert found.rewards.tolist() == [[3, 2, 1], [7, 5, 5]]
    assert [group.name for group in found.all_groups] == ["R1", "R2", "R3", "B"]
    assert found.all_groups[-1].rewards.tolist() == [9, 0]


def test_a_group_reads_as_the_answers_of_one_model() -> None:
    found = with_baseline()
    [first, _] = lines = list(answer_lines(found, found.groups[0]))
    assert all(line.keys() >= LINE_KEYS for line in lines)
    assert first == {
        "question_id": 0,
        "question": "Question 0?",
        "answer": "a1",
        "sample": 0,
        "model": "m R1",
        "decoding": None,
        "finish_reason": "stop",
        "reward": 3.0,
        "ranked": {"file": "a.jsonl", "sample": 1, "model": "m"},
    }
    assert {line["model"] for line in answer_lines(found, found.all_groups[-1])} == {"m B"}


def test_every_reward_is_kept_with_its_group() -> None:
    lines = list(reward_lines(with_baseline()))
    assert [(x["question_id"], x["group"], x["sample"], x["reward"]) for x in lines] == [
        (0, "R1", 1, 3.0),
        (0, "R2", 2, 2.0),
        (0, "R3", 0, 1.0),
        (0, "B", 0, 9.0),
        (1, "R1", 2, 7.0),
        (1, "R2", 0, 5.0),
        (1, "R3", 1, 5.0),
        (1, "B", 0, 0.0),
    ]
