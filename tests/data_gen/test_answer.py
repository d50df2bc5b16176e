"""What a teacher is asked for a record, what after its answer, and the record that comes of it."""

import dataclasses
from typing import Any

import pytest
from llama_gpt4_data.answer import Answer, AnswerConfig
from llama_gpt4_data.requests import Reply
from llama_gpt4_data.sources import Source

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import render_prompt

from .endpoints import endpoint_config, policies, prices_config, reply, run_config

SOURCE = Source(
    id="7", instruction="Add.", input="1 1", output="", repeat=0, file="a.json", index=3, value={}
)


def config(**values: Any) -> AnswerConfig:
    given: dict[str, Any] = {
        "files": ["a.json"],
        "limit": None,
        "language": "en",
        "frame": "alpaca",
        "system": None,
        "policy": policies(),
        "run": run_config(),
        "teacher": endpoint_config(),
        "prices": prices_config(),
    }
    return AnswerConfig(**(given | values))


def answer(source: Source = SOURCE, **policy: str) -> Answer:
    return Answer(source, config(policy=policies(**policy)))


def replied(item: Answer, *texts: str, reasons: tuple[str, ...] = ()) -> list[Reply]:
    """The replies that come one after the other, each to what is asked by then."""
    replies: list[Reply] = []
    for place, text in enumerate(texts):
        asked = item.request(replies)
        assert asked is not None
        reason = reasons[place] if place < len(reasons) else "stop"
        replies.append(reply(asked, text, finish_reason=reason))
    return replies


def test_the_papers_call() -> None:
    asked = answer().request([])
    assert asked is not None
    assert asked.body == {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": render_prompt("Add.", "1 1")}],
        "temperature": 1.0,
        "max_tokens": 512,
    }


def test_a_system_message_comes_first() -> None:
    asked = Answer(SOURCE, config(system="Be brief.", frame="plain")).request([])
    assert asked is not None
    assert [m["content"] for m in asked.body["messages"]] == ["Be brief.", "Add.\n\n1 1"]


def test_the_same_record_again_is_another_request() -> None:
    second = answer(dataclasses.replace(SOURCE, repeat=1))
    first_key, second_key = (item.request([]).key for item in (answer(), second))  # type: ignore[union-attr]
    assert first_key != second_key


def test_a_good_answer_makes_a_record_and_asks_nothing_more() -> None:
    item = answer(dataclasses.replace(SOURCE, output="old"))
    replies = replied(item, "2")
    assert item.request(replies) is None
    made = item.made(replies)
    assert made.record == {
        "id": "7", "instruction": "Add.", "input": "1 1", "output": "2", "label": "old"
    }  # fmt: skip
    assert made.findings == [] and made.failure is None


def test_a_cut_answer_is_kept_and_said_so() -> None:
    item = answer()
    replies = replied(item, "One and", reasons=("length",))
    assert item.request(replies) is None
    made = item.made(replies)
    assert made.record is not None and made.record["output"] == "One and"
    assert made.findings == ["truncated"]


def test_a_cut_answer_is_dropped() -> None:
    item = answer(truncated="drop")
    assert item.made(replied(item, "One and", reasons=("length",))).failure == "truncated"


def test_a_cut_answer_is_continued_once() -> None:
    item = answer(truncated="continue")
    replies = replied(item, "One and", " one is", reasons=("length", "length"))
    assert item.request(replies) is None, "never paid more than twice"
    made = item.made(replies)
    assert made.record is not None and made.record["output"] == "One and one is"
    assert made.findings == ["truncated"], "the rest is cut, too"


def test_a_cut_answer_is_asked_for_at_twice_the_length() -> None:
    item = answer(truncated="retry")
    replies = replied(item, "One and", "One and one is two.", reasons=("length",))
    second = item.request(replies[:1])
    assert second is not None and second.max_tokens == 1024
    assert item.request(replies) is None
    made = item.made(replies)
    assert made.record is not None and made.record["output"] == "One and one is two."
    assert made.findings == []


def test_an_empty_answer_is_asked_for_once_more() -> None:
    item = answer(empty="retry")
    assert item.made(replied(item, " ", "2")).record is not None
    twice = replied(item, " ", "")
    assert item.request(twice) is None
    made = item.made(twice)
    assert made.record is None and made.failure == "empty", "an empty answer is never kept"


def test_a_refusal_is_kept_dropped_or_asked_for_once_more() -> None:
    refusal = "I'm sorry, but I cannot help with that request."
    kept = answer()
    assert kept.made(replied(kept, refusal)).findings == ["refusal"]
    dropped = answer(refusal="drop")
    assert dropped.made(replied(dropped, refusal)).failure == "refusal"
    again = answer(refusal="retry")
    replies = replied(again, refusal, "2")
    first, second = (again.request(replies[:n]) for n in (0, 1))
    assert first is not None and second is not None
    assert first.body == second.body and first.key != second.key
    assert again.made(replies).findings == []


def test_an_answer_in_another_language_is_found() -> None:
    item = answer(wrong_language="drop")
    assert item.made(replied(item, "答案是二，因为一加一等于二。")).failure == "wrong_language"


def test_a_filtered_answer_fails() -> None:
    item = answer(filtered="keep")
    made = item.made(replied(item, "", reasons=("content_filter",)))
    assert made.failure == "empty" and made.findings == ["filtered", "empty"]


def test_a_configuration_that_asks_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="files is empty"):
        config(files=[])
    with pytest.raises(InputError, match="language=fr is not one of en, zh"):
        config(language="fr")
    with pytest.raises(InputError, match="limit=0 must be positive"):
        config(limit=0)
