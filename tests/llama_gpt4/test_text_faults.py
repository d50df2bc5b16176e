"""Languages at a glance, and what files claim; faults one by one: test_audit.py."""

import pytest

from llama_gpt4.language import language_of
from llama_gpt4.records import read_records
from llama_gpt4.text_faults import answer_language, claim_of


@pytest.mark.parametrize(
    ("counts", "claim"),
    [
        ({}, None),
        ({"no words": 5}, None),
        ({"en": 9, "zh": 1}, "en"),
        ({"en": 89, "zh": 11}, None),
        ({"zh": 9, "no words": 90}, "zh"),
    ],
)
def test_a_file_claims_what_nearly_all_of_its_answers_are(
    counts: dict[str, int], claim: str | None
) -> None:
    assert claim_of(counts) == claim


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_glance_tells_the_language(language: str) -> None:
    for record in read_records(f"sample:{language}"):
        assert answer_language(record.output) == (language_of(record.output) or "no words")


def test_a_text_that_begins_without_words_is_read_in_full() -> None:
    assert answer_language("1234 " * 40) == "no words"
    assert answer_language("1234 " * 40 + "and that is the end of it.") == "en"
