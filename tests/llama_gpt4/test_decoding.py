"""Decodings: what is no decoding, and what is stored with answers."""

import pytest

from llama_gpt4.decoding import DecodingConfig
from llama_gpt4.errors import InputError


@pytest.mark.parametrize(
    ("tokens", "temperature", "top_p", "message"),
    [
        (0, 1.0, 1.0, "decoding.max_new_tokens=0 must be positive"),
        (9, -1.0, 1.0, "decoding.temperature=-1.0 must be 0 or a positive number"),
        (9, float("nan"), 1.0, "decoding.temperature=nan must be 0 or a positive number"),
        (9, 1.0, 0.0, r"decoding.top_p=0.0 is not within \(0, 1\]"),
        (9, 0.0, 0.5, "decoding.top_p=0.5 changes nothing at decoding.temperature=0"),
    ],
)
def test_what_is_no_decoding_is_refused(tokens, temperature, top_p, message):
    with pytest.raises(InputError, match=message):
        DecodingConfig(max_new_tokens=tokens, temperature=temperature, top_p=top_p)


def test_a_seed_is_stored_where_it_decides_anything():
    greedy = DecodingConfig(max_new_tokens=9, temperature=0.0, top_p=1.0)
    drawn = DecodingConfig(max_new_tokens=9, temperature=0.7, top_p=0.9)
    assert greedy.described(5) == {"max_new_tokens": 9, "temperature": 0.0, "top_p": 1.0}
    assert drawn.described(5) == {"max_new_tokens": 9, "temperature": 0.7, "top_p": 0.9, "seed": 5}
