"""Inputs and outputs for a bare instruction, as Self-Instruct made and filtered them."""

import pytest
from llama_gpt4_data.instances import (
    Instance,
    InstanceItem,
    classification_prompt,
    instances_prompt,
    kept_instances,
    read_instances,
    says_yes,
)
from llama_gpt4_data.requests import Reply
from llama_gpt4_data.task_lists import Task
from llama_gpt4_data.task_pool import PoolTask, read_seeds

from .endpoints import endpoint_config, reply

SEEDS = read_seeds(None, "en")
WHY = PoolTask("x", Task("Sort the words.", "", ""), False)


def test_the_question_of_classification_shows_both_kinds() -> None:
    prompt = classification_prompt("Sort the words.", SEEDS, "en")
    assert prompt.count("\nYes\n") == 3 and prompt.count("\nNo\n") == 4
    assert prompt.endswith("\n\nTask: Sort the words.")
    assert "任务: 排序。" in classification_prompt("排序。", read_seeds(None, "zh"), "zh")


@pytest.mark.parametrize(
    "text, is_yes",
    [
        *((text, True) for text in ("Yes", "yes.", "**Yes**, it is", "是", "是的。")),
        *((text, False) for text in ("No", "否", "不是", "是否？", "Yesterday", "")),
    ],
)
def test_yes_and_no(text: str, is_yes: bool) -> None:
    assert says_yes(text) == is_yes


def test_examples_of_classification_have_the_label_first() -> None:
    label_first = instances_prompt("Sort.", SEEDS, "en", is_classification=True)
    assert label_first.index("Output: trumpet") < label_first.index("Input: violin, cello")
    input_first = instances_prompt("Sort.", SEEDS, "en", is_classification=False)
    assert "Input: <noinput>\nOutput: Take a waterproof" in input_first
    assert "trumpet" not in input_first


def test_pairs_in_either_order() -> None:
    assert read_instances(
        "Example 1\nInput: a\nb\nOutput: c\n\nExample 2\n**Input:** <noinput>\n**Output:** d",
        is_cut=False,
    ) == [Instance("a\nb", "c"), Instance("", "d")]
    assert read_instances("Output: yes\nInput: a\n输出：否\n输入：b", is_cut=False) == [
        Instance("a", "yes"),
        Instance("b", "否"),
    ]


def test_a_missing_part_ends_the_list() -> None:
    text = "Input: a\nOutput: b\nInput: c\nInput: d\nOutput: e"
    assert read_instances(text, is_cut=False) == [Instance("a", "b")]
    assert read_instances("Input: a\nOutput: b\nInput: c\nOutput: d", is_cut=True) == [
        Instance("a", "b")
    ]
    assert read_instances("Nothing.", is_cut=False) == []


def test_what_self_instruct_drops() -> None:
    good = Instance("a", "b")
    bad = [Instance("x", "x"), Instance("x", ""), Instance("x:", "y"), Instance("x", "y:")]
    assert kept_instances([good, *bad, good]) == [good]
    assert kept_instances([good, Instance("a", "c")]) == [], "one input with two outputs"
    assert kept_instances([Instance("", "b"), Instance("", "c")]) == [
        Instance("", "b"),
        Instance("", "c"),
    ]
    assert len(kept_instances([Instance(str(n), "x") for n in range(9)])) == 5


def replied(*texts: str, reason: str = "stop") -> tuple[InstanceItem, list[Reply]]:
    teacher = endpoint_config(
        parameters={"temperature": 0.7, "presence_penalty": 2.0, "max_tokens": 64}
    )
    item, replies = InstanceItem(WHY, tuple(SEEDS), "en", teacher), list[Reply]()
    for text in texts:
        asked = item.request(replies)
        assert asked is not None
        assert (asked.body["temperature"], asked.max_tokens) == (0.0, 64)
        assert "presence_penalty" not in asked.body
        replies.append(reply(asked, text, finish_reason=reason))
    return item, replies


def test_two_requests_make_the_records_of_an_instruction() -> None:
    item, replies = replied("Yes", "Output: up\nInput: a b\n\nOutput: down\nInput: b a")
    second = item.request(replies[:1])
    assert second is not None and "for each label" in second.body["messages"][0]["content"]
    assert item.request(replies) is None
    assert item.records(replies) == [
        {"instruction": "Sort the words.", "input": i, "output": o, "is_classification": True}
        for i, o in (("a b", "up"), ("b a", "down"))
    ]
    item, replies = replied("No", "Input: a\nOutput: b\nInput: c\nOutput: d", reason="length")
    assert [record["input"] for record in item.records(replies)] == ["a"]
