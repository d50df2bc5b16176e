"""What the judge is asked, how often, and what its replies come to."""

from typing import Any

from llama_gpt4_data.findings import ScorePolicies
from llama_gpt4_data.judge_answers import JudgedQuestion
from llama_gpt4_data.judge_items import JudgingItem, judging_items, once, pairs_of
from llama_gpt4_data.requests import Reply

from .endpoints import reply
from .judging import judge_config

QUESTION = JudgedQuestion("7", "Why?", "generic", {"a": "Because.", "b": "So."})


def asked(*texts: str, category: str = "generic", reason: str = "stop", **policy: str) -> Any:
    """An item, and the judge's replies that come one after the other."""
    policies = ScorePolicies(**({"unreadable": "retry", "out_of_range": "keep"} | policy))
    question = JudgedQuestion("7", "Why?", category, QUESTION.answers)
    item = JudgingItem(question, ("a", "b"), ("b", "a"), 0, judge_config(policy=policies))
    replies: list[Reply] = []
    for text in texts:
        request = item.request(replies)
        assert request is not None
        replies.append(reply(request, text, finish_reason=reason))
    return item, replies


def test_pairs() -> None:
    assert pairs_of(["a", "b", "c"], None) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert pairs_of(["a", "b", "c"], "b") == [("a", "b"), ("c", "b")]


def test_every_pair_in_both_orders_as_often_as_repeats_say() -> None:
    items = list(judging_items([QUESTION], judge_config(repeats=2)))
    assert [(item.order, item.repeat) for item in items] == [
        (("a", "b"), 0), (("a", "b"), 1), (("b", "a"), 0), (("b", "a"), 1)
    ]  # fmt: skip
    assert len({item.key for item in items}) == 4, "a repeat is another request"


def test_equal_answers_make_one_request() -> None:
    same = JudgedQuestion("8", "Why?", "generic", {"a": "So.", "b": "So."})
    items = list(judging_items([same], judge_config(repeats=2)))
    assert len(items) == 4 and len(once(items)) == 2


def test_the_judge_sees_the_answers_in_the_order_and_no_names() -> None:
    item, _ = asked()
    system, user = item.request([]).body["messages"]
    assert system["role"] == "system"
    assert "Assistant 1's Answer]\nSo.\n" in user["content"]
    assert "Assistant 2's Answer]\nBecause.\n" in user["content"]
    assert item.request([]).body["temperature"] == 0.2


def test_a_judgement_has_all_that_its_line_promises() -> None:
    item, replies = asked("8 9\nSo is better.")
    assert item.request(replies) is None
    line = item.judgement(replies, None).line()
    assert line["models"] == ["a", "b"] and line["order"] == ["b", "a"]
    assert line["scores"] == [8.0, 9.0] and line["lengths"] == [3, 8]
    assert line["text"] == "8 9\nSo is better." and line["judge"] == "gpt-4-0613"
    assert line["prompt_hash"] == item.request([]).prompt_hash and line["prompt"] == "general"
    assert line["failure"] is None and line["findings"] == []


def test_what_cannot_be_read_is_asked_once_more_and_then_missing() -> None:
    item, replies = asked("Hm.", "7 8")
    assert item.judgement(replies, None).scores == (7.0, 8.0)
    item, replies = asked("Hm.", "Well.")
    assert item.request(replies) is None
    judgement = item.judgement(replies, None)
    assert judgement.scores is None and judgement.source["failure"] == "unreadable"
    item, replies = asked("Hm.", unreadable="drop")
    assert item.request(replies) is None


def test_a_cut_judgement_of_mathematics_gets_more_room() -> None:
    item, replies = asked("First, let us", category="math", reason="length")
    longer = item.request(replies)
    assert longer.max_tokens == 2048 and longer.key != item.key
    item, replies = asked("8 9\nSince the", reason="length")
    assert item.request(replies) is None, "the scores are there"
    assert item.judgement(replies, None).source["findings"] == ["truncated"]


def test_zeros_by_policy() -> None:
    item, replies = asked("0 9")
    judgement = item.judgement(replies, None)
    assert judgement.scores == (0.0, 9.0) and judgement.source["findings"] == ["out_of_range"]
    item, replies = asked("0 9", out_of_range="drop")
    assert item.judgement(replies, None).source["failure"] == "out_of_range"
    item, replies = asked("0 9", "1 9", out_of_range="retry")
    assert item.judgement(replies, None).scores == (1.0, 9.0)


def test_a_refused_request_is_missing_for_its_reason() -> None:
    item, _ = asked()
    judgement = item.judgement([], "400: too long")
    assert judgement.scores is None and judgement.source["failure"] == "400: too long"
    assert judgement.source["text"] is None and judgement.source["prompt_hash"]
