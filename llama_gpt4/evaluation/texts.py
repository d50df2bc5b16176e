"""`llama-gpt4 evaluate metric=texts`: what data sets are made of, side by side, as in the paper's
Figure 1: verbs and nouns of first sentences, lengths of answers, and how much of what there is."""

import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llama_gpt4.compose import compose
from llama_gpt4.errors import require, require_one_of
from llama_gpt4.evaluation.datasets import Text, language_of_texts, outline, read_texts
from llama_gpt4.evaluation.lengths import (
    LENGTH_UNITS,
    LENGTH_UNITS_SAID,
    LONGEST_WORDS,
    N_BINS,
    binned,
    percentiles,
)
from llama_gpt4.evaluation.parsers import Parser, load_parser
from llama_gpt4.evaluation.results import require_apart
from llama_gpt4.evaluation.verb_noun import (
    DESCENTS,
    Counts,
    Pair,
    Sunburst,
    count_pairs,
    ranked,
    side_by_side,
    sunburst,
)
from llama_gpt4.files import write_json
from llama_gpt4.help import wants_help
from llama_gpt4.program import ExitReport, run_program
from llama_gpt4.statistics import mean

PROGRAM = "evaluate/texts"
LANGUAGES = ("en", "zh")
SHOWN_ROWS = 10
"""Of pairs side by side on the terminal; the file has all."""


@dataclass(kw_only=True)
class SunburstConfig:
    """Which pairs Figure 1 (a) and (b) show; `above` is also the limit of all frequent pairs."""

    verbs: int
    """So many verbs, those with the most pairs."""
    nouns: int
    """So many nouns of each."""
    above: int
    """Of those, pairs that are there more often than this."""


@dataclass(kw_only=True)
class PairsConfig:
    """How verbs and nouns are found and shown."""

    models: dict[str, str]
    """By language: a pipeline of spaCy, by name or folder, or `jieba` (Chinese, by parts of speech
    alone). The paper's is en_core_web_md."""
    descent: str
    """From a root that is no verb: `all` looks below each word; `first_child` is the notebook of
    the paper, which looks below the first one only and misses verbs."""
    rows: int
    """Pairs side by side, as in Figure 1 (c)."""
    sunburst: SunburstConfig

    def __post_init__(self) -> None:
        missing = [language for language in LANGUAGES if language not in self.models]
        require(not missing, f"pairs.models has no model for {', '.join(missing)}")
        require_one_of("pairs.descent", self.descent, DESCENTS)
        require(self.rows > 0, f"pairs.rows={self.rows} must be positive")


@dataclass(kw_only=True)
class TextsConfig:
    """Which data sets are looked at."""

    files: dict[str, str]
    """A file a data set, such as {gpt4: a.json, gpt3: b.json}: records, questions, or answers."""
    language: str
    """`en`, `zh`, or `auto`: what most answers of a file are in."""
    length_unit: str
    """`words`, each Chinese character one; or `whitespace`, the paper's, in which a Chinese
    sentence is one word."""
    pairs: PairsConfig
    output: str
    """The file of results."""

    def __post_init__(self) -> None:
        require(bool(self.files), "files is empty: name at least one data set")
        require_one_of("language", self.language, ("auto", *LANGUAGES))
        require_one_of("length_unit", self.length_unit, tuple(LENGTH_UNITS))


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if wants_help(PROGRAM, TextsConfig, arguments):
        return 0
    return run_program("evaluate", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Count, write the results, and print the most telling of them."""
    config = compose(TextsConfig, PROGRAM, arguments)
    require_apart(config.output, config.files.values())
    texts = {name: read_texts(file) for name, file in config.files.items()}
    parsers = Parsers(config.pairs.models)
    counts: dict[str, Counts] = {}
    sets = {name: _of_set(name, texts[name], config, parsers, counts) for name in texts}
    rows = side_by_side(counts, config.pairs.rows)
    result = {
        "metric": "texts",
        "settings": asdict(config),
        "length_unit": LENGTH_UNITS_SAID[config.length_unit],
        "sets": sets,
        "side_by_side": rows,
    }
    write_json(Path(config.output), result)
    print("\n".join([*_lines(sets), *(["", *_pair_lines(rows)] if rows else [])]))
    print(f"\n{len(sets)} data set{'s'[: len(sets) != 1]} -> {config.output}")


class Parsers:
    """The parser of each language, loaded when the first data set in it comes."""

    def __init__(self, models: Mapping[str, str]) -> None:
        self._models = models
        self._loaded: dict[str, Parser] = {}

    def of(self, language: str) -> Parser:
        if language not in self._loaded:
            self._loaded[language] = load_parser(self._models[language])
        return self._loaded[language]


def _of_set(
    name: str, texts: list[Text], config: TextsConfig, parsers: Parsers, counts: dict[str, Counts]
) -> dict[str, Any]:
    """All that is counted of one data set; its pairs go to `counts` as well."""
    count_words = LENGTH_UNITS[config.length_unit]
    outputs = [text.output for text in texts if text.output is not None]
    asked = [text.instruction for text in texts if text.instruction is not None]
    language = config.language
    if language == "auto":
        language = language_of_texts(outputs or asked)
    found: dict[str, Any] = {
        "file": config.files[name],
        "language": language,
        "outline": outline(texts, count_words),
    }
    if outputs:
        found["lengths"] = _lengths(outputs, count_words)
        pairs, found["pairs"] = _pairs(outputs, parsers.of(language), config.pairs, name)
        counts[name] = pairs
    return found


def _lengths(outputs: Sequence[str], count_words: Callable[[str], int]) -> dict[str, Any]:
    lengths = [count_words(output) for output in outputs]
    average = mean(lengths)
    counts = binned(lengths)
    return {
        "texts": len(lengths),
        "mean": average.value,
        "low": average.low,
        "high": average.high,
        "percentiles": percentiles(lengths),
        "least": min(lengths),
        "most": max(lengths),
        "bins": {"n": N_BINS, "from": 0, "to": LONGEST_WORDS, "counts": counts},
        "beyond_bins": len(lengths) - sum(counts),
    }


def _pairs(
    outputs: Sequence[str], parser: Parser, config: PairsConfig, name: str
) -> tuple[Counter[tuple[str, str]], dict[str, Any]]:
    """Verbs and nouns of the texts, each text once, as in the paper."""
    from tqdm import tqdm

    distinct = list(dict.fromkeys(outputs))
    start = time.perf_counter()
    found: list[Pair] = []
    for pair in tqdm(
        parser.pairs(distinct, config.descent), name, len(distinct), unit="text", disable=None
    ):
        found.append(pair)
    seconds = time.perf_counter() - start
    counts = count_pairs(found)
    order = ranked(counts)
    above = config.sunburst.above
    return counts, {
        "parser": parser.described,
        "descent": config.descent,
        "texts": len(distinct),
        "with_verb": sum(verb is not None for verb, _ in found),
        "with_pair": counts.total(),
        "unique": len(counts),
        "sunburst": sunburst(counts, Sunburst(**asdict(config.sunburst))),
        "all_above": [pair for pair in order if pair[2] > above],
        "counts": order,
        "texts_per_second": round(len(distinct) / seconds, 1),
    }


def _lines(sets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line a data set."""
    width = max(map(len, ("data set", *sets)))
    lines = [
        f"{'data set':<{width}}  lang  records  questions  groups  words: mean (95 %)       "
        "p50   p90   max  pairs  unique  texts/s"
    ]
    for name, found in sets.items():
        part = found["outline"]
        line = (
            f"{name:<{width}}  {found['language']:<4}  {part['records']:>7,}  "
            f"{part['distinct_questions']:>9,}  {part['groups']['distinct']:>6}"
        )
        lines.append(line + (_measured(found) if "lengths" in found else ""))
    return lines


def _measured(found: Mapping[str, Any]) -> str:
    words, pairs = found["lengths"], found["pairs"]
    mean_words = f"{words['mean']:.1f} ({words['low']:.1f} to {words['high']:.1f})"
    middle, long = (words["percentiles"][p] for p in ("p50", "p90"))
    return (
        f"  {mean_words:<22}  {middle:>4}  {long:>4}  {words['most']:>4}  "
        f"{pairs['with_pair']:>5,}  {pairs['unique']:>6,}  {pairs['texts_per_second']:>7,.0f}"
    )


def _pair_lines(rows: Sequence[Mapping[str, tuple[str, str, int] | None]]) -> list[str]:
    """The pairs of all data sets by their rank, the first ones."""
    lines = [("", *rows[0])]
    for rank, row in enumerate(rows[:SHOWN_ROWS], 1):
        pairs = ["" if pair is None else " ".join(map(str, pair)) for pair in row.values()]
        lines.append((f"{rank}", *pairs))
    return [f"{rank:>3}  " + "".join(map(_padded, cells)).rstrip() for rank, *cells in lines]


def _padded(text: str) -> str:
    """`text` in a column of terminals, where a Chinese character takes two places."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return text + " " * (24 - wide - len(text))
