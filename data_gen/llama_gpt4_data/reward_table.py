"""A report of a reward model for people, files and trackers: its table, JSON, and summary."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llama_gpt4.files import write_json
from llama_gpt4.statistics import CONFIDENCE, RESAMPLES, Estimate
from llama_gpt4.summary import Summary, Table
from llama_gpt4_data.reward_correlation import FEWEST
from llama_gpt4_data.reward_plot import draw
from llama_gpt4_data.reward_report import MARGINS, Report, Row

NAME = "reward_report"
HEADINGS = {
    "sources": "by the two sources",
    "margin": "by points of score between the two",
    "language": "by language of the prompt",
    "subset": "by subset",
    "section": "by section of RewardBench",
}
MOST_ROWS = 25
"""Of one group on the terminal: a benchmark may compare hundreds of sources."""


def publish(folder: Path, what: str, found: Report, config: dict[str, Any]) -> Summary:
    """Print the report on `what`, such as held-out prompts, and write `reward_report.json`, with
    the `config` that it comes from, and `reward_report.png` to `folder`; the same for the
    tracker."""
    print(table(what, found), flush=True)
    write_json(folder / f"{NAME}.json", {"config": config, **as_json(found)})
    draw(folder / f"{NAME}.png", found)
    return summary(found)


def table(what: str, found: Report) -> str:
    """For the terminal."""
    groups = {heading: found.by[key] for key, heading in HEADINGS.items() if key in found.by}
    names = [f"  {row.name}" for rows in groups.values() for row in rows[:MOST_ROWS]]
    width = max(map(len, [*names, *groups]))
    lines = [
        f"{found.prompts:,} {what}, {found.overall.pairs:,} pairs; intervals of "
        f"{CONFIDENCE:.0%} draw prompts; the rules are fitted on {found.rules_from}",
        f"{'':<{width}}  prompts  pairs  {'accuracy':<22} length only  source only",
        _line(found.overall, "all pairs", width),
    ]
    for heading, rows in groups.items():
        lines += [heading, *(_line(row, f"  {row.name}", width) for row in rows[:MOST_ROWS])]
        if len(rows) > MOST_ROWS:
            lines.append(f"  {len(rows) - MOST_ROWS:,} more with fewer pairs are in {NAME}.json")
    return "\n".join([*lines, *_words(found)])


def _line(row: Row, name: str, width: int) -> str:
    return (
        f"{name:<{width}}  {row.prompts:7,}  {row.pairs:5,}  {row.accuracy!s:<22} "
        f"{row.length_only.value:11.3f}  {row.source_only.value:11.3f}"
    )


def _words(found: Report) -> Iterator[str]:
    """What is one number."""
    if found.benchmark_score is not None:
        yield f"RewardBench, mean of its sections: {found.benchmark_score}"
    if found.unscored_pairs:
        yield f"{found.unscored_pairs:,} pairs have no scores, and so no margin"
    yield f"above the rule of length: {found.above_length_only}"
    yield f"above the rule of sources: {found.above_source_only}"
    calibration = found.calibration
    yield (
        f"expected calibration error: {calibration.expected_error}, of which a calibrated model "
        f"would show {calibration.by_chance:.3f}"
    )
    spearman = found.spearman
    if spearman is None:
        yield "Spearman with the scores: there are none"
        return
    within = f"no prompt has {FEWEST} scored responses"
    if spearman.within_prompts is not None:
        within = f"{spearman.within_prompts} within prompts"
    yield f"Spearman with the scores: {within}, {spearman.pooled} pooled"


def as_json(found: Report) -> dict[str, Any]:
    """All of it, with how it was found."""
    return {
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "margin_bins": [edge for edge in MARGINS if math.isfinite(edge)],
        **asdict(found),
    }


def summary(found: Report) -> Summary:
    """For the tracker."""
    scalars = {
        "accuracy": found.overall.accuracy,
        "length_only": found.overall.length_only,
        "source_only": found.overall.source_only,
        "above_length_only": found.above_length_only,
        "above_source_only": found.above_source_only,
        "expected_calibration_error": found.calibration.expected_error,
    }
    if found.spearman is not None:
        scalars["spearman_pooled"] = found.spearman.pooled
        if found.spearman.within_prompts is not None:
            scalars["spearman_within_prompts"] = found.spearman.within_prompts
    columns = ["by", "name", "prompts", "pairs", "accuracy", "low", "high", "length only"]
    rows = [_cells("all", found.overall)]
    rows += [_cells(key, row) for key, group in found.by.items() for row in group]
    return Summary(
        scalars={
            f"reward/{key}": value
            for name, of in scalars.items()
            for key, value in _parts(name, of)
        },
        tables={"reward/table": Table([*columns, "source only"], rows)},
        pictures={"reward/report": f"{NAME}.png"},
    )


def _parts(name: str, found: Estimate) -> list[tuple[str, float]]:
    return [(name, found.value), (f"{name}_low", found.low), (f"{name}_high", found.high)]


def _cells(by: str, row: Row) -> list[Any]:
    accuracy = row.accuracy
    sizes = [row.prompts, row.pairs]
    rules = [row.length_only.value, row.source_only.value]
    return [by, row.name, *sizes, accuracy.value, accuracy.low, accuracy.high, *rules]
