"""Tokens are counted as OpenAI counts and charges them."""

import pytest
from llama_gpt4_data.requests import Request
from llama_gpt4_data.tokens import TokenCounter

from llama_gpt4.errors import InputError

from .endpoints import request

COOKBOOK = (
    ("system", None, "You are a helpful, pattern-following assistant that translates corporate "
     "jargon into plain English."),
    ("system", "example_user", "New synergies will help drive top-line growth."),
    ("system", "example_assistant", "Things working well together will increase revenue."),
    ("system", "example_user", "Let's circle back when we have more bandwidth to touch base on "
     "opportunities for increased leverage."),
    ("system", "example_assistant", "Let's talk later when we're less busy about how to do "
     "better."),
    ("user", None, "This late pivot means we don't have time to boil the ocean for the client "
     "deliverable."),
)  # fmt: skip
"""The conversation of OpenAI's cookbook; roles, names and contents of its messages."""


@pytest.mark.parametrize(
    "encoding, charged", [("cl100k_base", 129), ("o200k_base", 124)], ids=["gpt-4", "gpt-4o"]
)
def test_a_conversation_has_as_many_tokens_as_openai_charges(encoding: str, charged: int) -> None:
    counter = TokenCounter(encoding)
    messages = [{"role": role, "content": content} for role, _, content in COOKBOOK]
    # Our own requests have no names, which cost a token beside their own.
    names = sum(1 + counter.text(name) for _, name, _ in COOKBOOK if name)
    asked = Request("http://127.0.0.1:1/v1", {"model": "gpt-4", "messages": messages})
    assert counter.prompt(asked) + names == charged


def test_chinese_has_about_a_token_a_sign_in_gpt_4_and_fewer_in_gpt_4o() -> None:
    text = "请解释为什么天空是蓝色的，并举出三个例子。"
    assert len(text) < TokenCounter("cl100k_base").text(text) < 1.5 * len(text)
    assert TokenCounter("o200k_base").text(text) < 0.9 * len(text)


@pytest.mark.parametrize(
    "text, tokens",
    [("", 0), ("<|endoftext|>", 7), ("half \ud83d", 2), ("word " * 300_000, 300_000)],
    ids=["nothing", "looks special", "half a letter", "long"],
)
def test_any_text_is_counted(text: str, tokens: int) -> None:
    assert TokenCounter("cl100k_base").text(text) == pytest.approx(tokens, rel=1e-3)


def test_an_unknown_encoding_is_one_line() -> None:
    with pytest.raises(InputError, match="encoding=gpt2 is not one of cl100k_base, o200k_base"):
        TokenCounter("gpt2")


def test_a_request_without_words_still_costs_its_frame() -> None:
    assert TokenCounter("cl100k_base").prompt(request("")) == 7
