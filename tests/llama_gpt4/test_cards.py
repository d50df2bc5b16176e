"""What a card says of licence and terms, whoever wrote it."""

import pytest

from llama_gpt4.cards import card_head, card_licences, card_terms, table

CARD = "---\nlicense: mit\n---\n\n# Data\n\n## Licence and terms\n\n- MIT\n- more\n"


def test_a_card_is_read() -> None:
    assert card_head(CARD) == {"license": "mit"}
    assert card_licences(CARD) == ["mit"]
    assert card_terms(CARD) == "- MIT\n- more"
    assert card_terms(f"{CARD}\n## Next\n\ntext\n") == "- MIT\n- more"


def test_several_licences() -> None:
    assert card_licences("---\nlicense: [mit, apache-2.0]\n---\n") == ["mit", "apache-2.0"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Data\n",
        "text\n---\nlicense: mit\n---\n",
        "---\nlicense: [mit\n---\n",
        "---\n- a\n---\n",
    ],
    ids=["empty", "no head", "not first", "no yaml", "a list"],
)
def test_what_has_no_head_states_no_licence(text: str) -> None:
    assert card_head(text) == {} and card_licences(text) == [] and card_terms(text) == ""


def test_a_table_survives_its_cells() -> None:
    assert table(("a", "b"), [("x|y\nz", 1234), (True, 0.5)]) == (
        "| a | b |\n| --- | --- |\n| x\\|y z | 1,234 |\n| True | 0.5 |"
    )
