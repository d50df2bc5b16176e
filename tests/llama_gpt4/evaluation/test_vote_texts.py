"""The page's languages."""

from string import Formatter

import pytest

from llama_gpt4.evaluation.vote_texts import LANGUAGES, TEXTS, preferred_language


def test_all_languages_say_the_same_things() -> None:
    names = {
        language: {key: _blanks(text) for key, text in said.items()}
        for language, said in TEXTS.items()
    }
    assert names.keys() == LANGUAGES.keys() and names["en"] == names["zh"]


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        ("zh", "en", "zh"),
        (None, "fr-FR, zh-CN;q=0.8, en;q=0.5", "zh"),
        ("xx", "", "en"),
        (None, "en-GB,en", "en"),
    ],
)
def test_the_address_goes_before_the_browser(
    asked: str | None, accepted: str, language: str
) -> None:
    assert preferred_language(asked, accepted) == language


def _blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}
