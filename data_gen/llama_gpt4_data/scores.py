"""`llama-gpt4 evaluate metric=scores`: which scores a judge gave each source of answers, as in the
paper's Figure 2. Nothing is joined here, so that lists without prompts are read as well."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llama_gpt4 import statistics
from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError, require
from llama_gpt4.evaluation.results import require_apart
from llama_gpt4.files import write_json
from llama_gpt4.help import wants_help
from llama_gpt4.program import ExitReport, run_program
from llama_gpt4.records import read_bytes
from llama_gpt4_data.comparisons import read_comparisons
from llama_gpt4_data.ratings import HIGHEST, LOWEST

PROGRAM = "evaluate/scores"
GOOD, BAD = 8, 5
"""The shares from the one up and below the other are given."""
UNNAMED = "(no source)"


@dataclass(kw_only=True)
class ScoresConfig:
    """Which scores are counted."""

    files: list[str]
    """Comparison data with scores, in any layout that `llama-gpt4 reward` reads; or one JSON object
    with a list of scores a source, such as the paper's cmp_data_scores.json."""
    output: str
    """The file of results."""

    def __post_init__(self) -> None:
        require(bool(self.files), "files is empty: name at least one file with scores")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if wants_help(PROGRAM, ScoresConfig, arguments):
        return 0
    return run_program("evaluate", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Count, write the results, and print them as a table."""
    config = compose(ScoresConfig, PROGRAM, arguments)
    require_apart(config.output, config.files)
    scores: dict[str, list[float]] = {}
    for file in config.files:
        for source, given in read_scores(file).items():
            scores.setdefault(source, []).extend(given)
    sources = {source: distribution(given) for source, given in scores.items()}
    result = {
        "metric": "scores",
        "settings": asdict(config),
        "scale": [LOWEST, HIGHEST],
        "confidence": statistics.CONFIDENCE,
        "resamples": statistics.RESAMPLES,
        "sources": sources,
    }
    write_json(Path(config.output), result)
    print("\n".join(_lines(sources)))
    print(f"\n{sum(its['n'] for its in sources.values()):,} scores -> {config.output}")


def read_scores(file: str) -> dict[str, list[float]]:
    """The scores in `file` by source."""
    lists = _lists(file)
    if lists is not None:
        return lists
    scores: dict[str, list[float]] = {}
    for comparison in read_comparisons([file]):
        for response in comparison.responses:
            if response.score is not None:
                scores.setdefault(response.source or UNNAMED, []).append(response.score)
    require(bool(scores), f"{file} has no scores, only which answer is better")
    return scores


def distribution(scores: Sequence[float]) -> dict[str, Any]:
    """How often there is which score, and what follows from it. What is out of the judge's scale is
    counted and stays in the mean, as in the paper."""
    counts = Counter(scores)
    values = np.array(sorted(counts))
    n = np.array([counts[value] for value in values])
    # Resampling N scores of which a few are different is a multinomial draw of those.
    draws = np.random.default_rng(0).multinomial(len(scores), n / n.sum(), statistics.RESAMPLES)
    mean = statistics.estimate_of(float(np.mean(scores)), draws @ values / len(scores))
    mode = float(values[n.argmax()])
    return {
        "n": len(scores),
        "counts": {f"{value:g}": counts[value] for value in values.tolist()},
        "mean": mean.value,
        "low": mean.low,
        "high": mean.high,
        "sd": float(np.std(scores)),
        "median": float(np.median(scores)),
        "mode": mode,
        "mode_share": counts[mode] / len(scores),
        f"share_from_{GOOD}": float(n[values >= GOOD].sum() / len(scores)),
        f"share_below_{BAD}": float(n[values < BAD].sum() / len(scores)),
        "out_of_range": int(n[(values < LOWEST) | (values > HIGHEST)].sum()),
        "half_points": int(n[values % 1 == 0.5].sum()),
    }


def _lists(file: str) -> dict[str, list[float]] | None:
    """One JSON object with a list a source; None for any other file."""
    content = read_bytes(file)
    try:
        value = json.loads(content) if content.lstrip()[:1] == b"{" else None
    except (ValueError, RecursionError):
        return None  # JSONL, or whatever the reader of comparisons says about it
    if not isinstance(value, dict) or not all(isinstance(given, list) for given in value.values()):
        return None
    for source, given in value.items():
        for place, score in enumerate(given):
            if isinstance(score, bool) or not isinstance(score, int | float) or score != score:
                raise InputError(f"{file}: score {place} of {source} is no number: {score!r}")
        require(bool(given), f"{file} has no scores of {source}")
    return {source: list(map(float, given)) for source, given in value.items()}


def _lines(sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line a source."""
    width = max(map(len, ("source", *sources)))
    lines = [
        f"{'source':<{width}}  {'scores':>7}  mean (95 %)             sd  median  mode        "
        f"from {GOOD}  below {BAD}  halves  out of {LOWEST}-{HIGHEST}"
    ]
    for source, its in sources.items():
        mean = f"{its['mean']:.3f} ({its['low']:.3f}-{its['high']:.3f})"
        mode = f"{its['mode']:g} ({its['mode_share']:.1%})"
        lines.append(
            f"{source:<{width}}  {its['n']:>7,}  {mean:<19}  {its['sd']:.3f}  {its['median']:>6g}  "
            f"{mode:<10}  {its[f'share_from_{GOOD}']:>6.1%}  {its[f'share_below_{BAD}']:>7.1%}  "
            f"{its['half_points']:>6}  {its['out_of_range']:>11}"
        )
    return lines
