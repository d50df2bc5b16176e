"""What the cards of data sets and models have in common: README.md in Hugging Face's format."""

from collections.abc import Sequence
from typing import Any

import yaml

TERMS = "## Licence and terms"
"""The heading that no card of ours is without."""


def card_head(card: str) -> dict[str, Any]:
    """The YAML between the first two lines of `---` of a card; empty where there is none."""
    before, dashes, rest = card.partition("---\n")
    try:
        head = yaml.safe_load(rest.partition("\n---")[0]) if dashes and not before.strip() else None
    except yaml.YAMLError:
        head = None
    return head if isinstance(head, dict) else {}


def card_licences(card: str) -> list[str]:
    """The names below `license` of a card's head; the hub takes one or several."""
    found = card_head(card).get("license") or []
    return [str(name) for name in (found if isinstance(found, list) else [found])]


def card_terms(card: str) -> str:
    """What stands below the heading of licence and terms, to the card's next heading or end."""
    return card.partition(f"\n{TERMS}\n")[2].partition("\n## ")[0].strip()


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return (f"{value:,}" if is_count else str(value)).replace("\n", " ").replace("|", "\\|")
