"""What new pieces save: tokens per character and characters spelled in bytes, by language."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llama_gpt4.language import language_of
from llama_gpt4.tokenizer import Tokenizer
from llama_gpt4.vocabulary import Extension, n_rows

CHUNK_TEXTS = 1000


@dataclass
class Cost:
    """Of texts in the tokens of one tokenizer."""

    tokens: int = 0
    byte_tokens: int = 0
    """Bytes of characters beyond ASCII, such as have no piece."""
    per_character: float = 0.0
    byte_share: float = 0.0
    """Of the tokens."""


@dataclass
class Row:
    """Texts of one part and language, before and after."""

    part: str
    """`training` or `held_out`."""
    language: str
    """`en`, `zh`, `other`; `none` for numbers or code alone."""
    texts: int
    characters: int
    before: Cost
    after: Cost


@dataclass
class Report:
    """What `vocabulary.json` holds."""

    pieces_before: int
    pieces_after: int
    rows: int
    """Of the embeddings."""
    added: int
    duplicate: int
    """Learned, but a piece already."""
    unreachable: int
    """Learned, but no text would be cut into it."""
    unused: int
    """Added, but in no training text's tokens: most are parts of longer ones."""
    costs: list[Row]

    @classmethod
    def of(
        cls,
        old: Tokenizer,
        new: Tokenizer,
        extension: Extension,
        texts: Mapping[str, Sequence[str]],
    ) -> "Report":
        """Counted over `texts` by part, as `old` and as `new` encode them."""
        used: set[int] = set()
        costs = []
        for part, of_part in texts.items():
            by_language: dict[str, list[str]] = defaultdict(list)
            for text in of_part:
                by_language[language_of(text) or "none"].append(text)
            for language, group in sorted(by_language.items()):
                before, _ = _cost(old, group)
                after, seen = _cost(new, group)
                used |= seen if part == "training" else set()
                n_characters = sum(map(len, group))
                costs.append(Row(part, language, len(group), n_characters, before, after))
        return cls(
            pieces_before=old.vocab_size,
            pieces_after=new.vocab_size,
            rows=n_rows(new.vocab_size),
            added=len(extension.pieces),
            duplicate=extension.n_duplicate,
            unreachable=extension.n_unreachable,
            unused=len(set(range(old.vocab_size, new.vocab_size)) - used),
            costs=costs,
        )


def report_lines(report: Report) -> Iterator[str]:
    """The report as a table of 80 columns."""
    yield (
        f"{report.pieces_before:,} pieces and {report.added:,} new: {report.pieces_after:,}, "
        f"in {report.rows:,} rows of embeddings"
    )
    yield (
        f"learned, but not taken: {report.duplicate:,} that were pieces already, "
        f"{report.unreachable:,} that no text would be cut into"
    )
    yield f"new, but in no training text's tokens: {report.unused:,}"
    yield ""
    yield f"{'':15}{'texts':>8}{'characters':>12}   {'tokens per character':22}share of bytes"
    for row in report.costs:
        part = row.part.replace("_", " ")
        yield (
            f"{part:9}{row.language:6}{row.texts:>8,}{row.characters:>12,}   "
            f"{f'{row.before.per_character:.3f} -> {row.after.per_character:.3f}':22}"
            f"{row.before.byte_share:.1%} -> {row.after.byte_share:.1%}"
        )


def _cost(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Cost, set[int]]:
    """Of `texts` as they stand behind a prompt, and the ids that occur."""
    byte_ids = set(tokenizer.fallback_ids)
    cost, seen = Cost(), set()
    for start in range(0, len(texts), CHUNK_TEXTS):
        for ids in tokenizer.encode_answers(texts[start : start + CHUNK_TEXTS]):
            cost.tokens += len(ids) - 1
            cost.byte_tokens += sum(id in byte_ids for id in ids)
            seen.update(ids)
    cost.per_character = cost.tokens / sum(map(len, texts))
    cost.byte_share = cost.byte_tokens / max(cost.tokens, 1)
    return cost, seen
