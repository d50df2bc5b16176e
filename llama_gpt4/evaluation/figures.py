"""The paper's figures, drawn from numbers: theirs, and those of result files beside them.

Colours are those of Okabe and Ito (2008), which people who see fewer colours can tell apart.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llama_gpt4.evaluation.chinese_font import chinese_font

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
PAPER, OURS = "#777777", "#0072B2"
VOTE_COLOURS = (COLOURS[0], "#DDDDDD", COLOURS[1])
"""Of the first model, ties, and the second."""

Interval = Mapping[str, float]


def settings() -> dict[str, Any]:
    """What to draw with, for `matplotlib.rc_context`."""
    return {
        "font.family": ["DejaVu Sans", chinese_font()],
        "font.size": 9,
        "text.parse_math": False,  # a name with two $ is a name, not a formula
        "axes.spines.top": False,
        "axes.spines.right": False,
    }


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def top_pairs(sets: Mapping[str, Sequence[Sequence[Any]]]) -> Figure:
    """Figure 1(c): the 25 commonest verbs and nouns of each set of (verb, noun, count)."""
    rows = -(-len(sets) // 2)
    figure = _figure(9, 4.6 * rows)
    places = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, (name, pairs) in zip(places, sets.items(), strict=False):
        shown = list(pairs)[:25]
        colour = PAPER if name.endswith("(paper)") else OURS
        axes.barh(range(len(shown)), [pair[2] for pair in shown], color=colour)
        axes.set_yticks(range(len(shown)), [f"{verb} {noun}" for verb, noun, _ in shown])
        axes.invert_yaxis()
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("answers")
    for axes in places[len(sets) :]:
        axes.remove()
    return figure


def lengths(sets: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Figure 1(d): how many texts have so many words, from `bins` of `texts.json`."""
    figure = _figure(7, 3.4)
    axes = figure.add_subplot()
    for (name, bins), colour in zip(sets.items(), cycle(COLOURS), strict=False):
        width = (bins["to"] - bins["from"]) / bins["n"]
        edges = [bins["from"] + width * i for i in range(bins["n"] + 1)]
        line = "--" if name.endswith("(paper)") else "-"
        axes.stairs(bins["counts"], edges, ls=line, color=colour, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")  # else powers of ten, as formulas
    axes.set_xlabel("words of the answer")
    axes.set_ylabel("answers")
    axes.legend()
    return figure


def scores(sets: Mapping[str, Mapping[str, int]]) -> Figure:
    """Figure 2: the share of each score, by source."""
    figure = _figure(7, 3.4)
    axes = figure.add_subplot()
    marks = "os^Dv*XP"
    for (name, counts), colour, mark in zip(
        sets.items(), cycle(COLOURS), cycle(marks), strict=False
    ):
        total = sum(counts.values())
        ordered = sorted((float(score), n / total) for score, n in counts.items())
        line = "--" if name.endswith("(paper)") else "-"
        axes.plot(*zip(*ordered, strict=True), line, marker=mark, ms=4, color=colour, label=name)
    axes.set_xlabel("score")
    axes.set_ylabel("share of answers")
    axes.set_xticks(range(11))
    axes.legend()
    return figure


@dataclass(frozen=True)
class Votes:
    """On the answers of two models."""

    first: str
    second: str
    shares: dict[str, Sequence[Interval]] = field(default_factory=dict)
    """By criterion: of the first, the second, and ties."""


def votes(panels: Mapping[str, Votes]) -> Figure:
    """Figure 3: shares of the votes for the first, for the second, and for neither."""
    figure = _figure(7, 1.7 * len(panels) + 0.5)
    places = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (name, found) in zip(places, panels.items(), strict=True):
        for row, (first, second, tie) in enumerate(found.shares.values()):
            labels = (found.first, "tie", found.second) if row == 0 else (None, None, None)
            start = 0.0
            for part, colour, label in zip((first, tie, second), VOTE_COLOURS, labels, strict=True):
                share = part["value"]
                axes.barh(row, share, left=start, color=colour, label=label)
                ink = "white" if part is first else "black"
                axes.text(
                    start + share / 2, row, f"{share:.0%}", ha="center", va="center", color=ink
                )
                start += share
            if "low" in first:  # each where its bar ends: the second's is from the right
                _whisker(axes, row, first["value"], first["low"], first["high"])
                _whisker(axes, row, 1 - second["value"], 1 - second["high"], 1 - second["low"])
        axes.set_yticks(range(len(found.shares)), [c.capitalize() for c in found.shares])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        axes.set_title(name, fontsize=10, loc="left")
        axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return figure


def _whisker(axes: Axes, row: float, value: float, low: float, high: float) -> None:
    """An interval, below the number that stands in the middle of a bar."""
    bounds = [[value - low], [high - value]]
    axes.errorbar(value, row + 0.27, xerr=bounds, color="black", capsize=2, lw=1)


def relative_scores(
    paper: Mapping[str, Mapping[str, Sequence[float]]], ours: Mapping[str, Mapping[str, Interval]]
) -> Figure:
    """Figures 4 and 5: points over the opponent's, in percent; ours with intervals."""
    panels = [(name, _percent(models), PAPER) for name, models in paper.items()]
    panels += [(name, dict(models), OURS) for name, models in ours.items()]
    rows = -(-len(panels) // 2)
    figure = _figure(9, 2.6 * rows)
    places = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, (name, models, colour) in zip(places, panels, strict=False):
        _bars(axes, models, colour)
        axes.set_title(textwrap.fill(name, 40), fontsize=9, loc="left")
    for axes in places[len(panels) :]:
        axes.remove()
    return figure


def _percent(models: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    return {name: {"value": own / other} for name, (own, other) in models.items()}


def _bars(axes: Axes, models: Mapping[str, Interval], colour: str) -> None:
    longest = max((100 * found["value"] for found in models.values()), default=100)
    for row, found in enumerate(models.values()):
        value = end = 100 * found["value"]
        axes.barh(row, value, height=0.4 if len(models) == 1 else 0.8, color=colour)
        if found.get("low") is not None and found.get("high") is not None:
            bounds = [[value - 100 * found["low"]], [100 * found["high"] - value]]
            axes.errorbar(value, row, xerr=bounds, color="black", capsize=3)
            end = max(value, 100 * found["high"])
        # Within the bar, or behind it where it is too short.
        place, ink = (0, "white") if value > longest / 4 else (end, "black")
        axes.text(place + longest / 50, row, f"{value:.0f}%", va="center", color=ink)
    axes.axvline(100, color="black", lw=0.8, ls=":")
    axes.set_yticks(range(len(models)), list(models))
    axes.set_ylim(max(len(models), 2) - 0.4, -0.6)
    axes.set_xlabel("% of the opponent's points", fontsize=8)


def rouge(
    paper: Mapping[str, Mapping[str, float]], ours: Mapping[str, Mapping[str, Interval]]
) -> Figure:
    """Figure 6: ROUGE-L by the length of the reference; ours with intervals."""
    figure = _figure(9, 3.8)
    axes = figure.add_subplot()
    buckets = list(next(iter(paper.values())))
    series = len(paper) + len(ours)
    width = 0.8 / series
    for place, (name, values) in enumerate(paper.items()):
        at = [i + width * place for i in range(len(buckets))]
        grey = str(0.35 + 0.2 * place)
        axes.bar(at, [values[b] for b in buckets], width, color=grey, label=f"{name} (paper)")
    for place, (name, found) in enumerate(ours.items(), len(paper)):
        shown = [(i, found[b]) for i, b in enumerate(buckets) if b in found]
        at = [i + width * place for i, _ in shown]
        means = [each["mean"] for _, each in shown]
        bounds = [
            [m - each["low"] for m, (_, each) in zip(means, shown, strict=True)],
            [each["high"] - m for m, (_, each) in zip(means, shown, strict=True)],
        ]
        colour = COLOURS[(place - len(paper)) % len(COLOURS)]
        axes.bar(
            at, means, width, yerr=bounds, capsize=2, hatch="//", color=colour, edgecolor="white",
            label=name,
        )  # fmt: skip
    middle = width * (series - 1) / 2
    axes.set_xticks([i + middle for i in range(len(buckets))], [_words(b) for b in buckets])
    axes.set_ylabel("ROUGE-L, F")
    figure.legend(ncols=4, fontsize=8, frameon=False, loc="outside upper left")
    return figure


def _words(bucket: str) -> str:
    return {"10-": "over 10 words", "ALL": "all"}.get(bucket, f"{bucket} words")


def best_of_n(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """What the best of k answers has more reward than one, against the KL bound."""
    figure = _figure(6, 3.2)
    axes = figure.add_subplot()
    for (name, curve), colour in zip(curves.items(), cycle(COLOURS), strict=False):
        at = [point["kl_upper_bound"] for point in curve]
        gains = [point["gain"] for point in curve]
        axes.fill_between(
            at, [g["low"] for g in gains], [g["high"] for g in gains], color=colour, alpha=0.2, lw=0
        )
        axes.plot(at, [g["value"] for g in gains], "o-", color=colour, label=name)
        for point, gain, x in zip(curve, gains, at, strict=True):
            axes.annotate(f" {point['k']}", (x, gain["value"]), va="top")
    if len(curves) > 1:
        axes.legend()
    axes.set_xlabel("KL divergence, at most (nats)")
    axes.set_ylabel("reward over one answer")
    return figure
