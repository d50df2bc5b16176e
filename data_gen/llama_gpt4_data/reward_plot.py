"""Two pictures of a reward model's report: its reliability diagram, and accuracy by margin."""

from pathlib import Path
from typing import Any

from llama_gpt4.files import bytes_aside
from llama_gpt4.statistics import CONFIDENCE, Estimate
from llama_gpt4_data.reward_calibration import Calibration
from llama_gpt4_data.reward_report import Report

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
"""Of Okabe and Ito's palette, which colour-blind readers tell apart; the marks differ as well."""
MOST_ROWS = 12
"""Of accuracies: a benchmark may compare hundreds of sources."""


def draw(path: Path, found: Report) -> None:
    """Write the PNG to `path`."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from llama_gpt4.evaluation.figures import settings

    # Sources have names of the user's, such as Chinese ones.
    with rc_context(settings()), bytes_aside(path) as file:
        FigureCanvasAgg(figure_of(found)).print_png(file)


def figure_of(found: Report) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained", dpi=130)
    left, right = figure.subplots(1, 2)
    _reliability(left, found.calibration)
    _accuracy(right, found)
    return figure


def _reliability(axes: Any, found: Calibration) -> None:
    x = [b.probability for b in found.bins]
    estimates = [b.better for b in found.bins]
    axes.plot([0.5, 1], [0.5, 1], linestyle="--", color=GREY, label="calibrated")
    axes.errorbar(
        x, [e.value for e in estimates], _whiskers(estimates), color=BLUE, marker="o", capsize=3,
        label=f"pairs, with {CONFIDENCE:.0%} intervals",
    )  # fmt: skip
    lowest = min([0.45, *(e.low for e in estimates)])
    axes.text(0.49, lowest - 0.035, "pairs in the bin", fontsize=8, color=GREY)
    for b in found.bins:
        axes.text(
            b.probability, lowest - 0.075, f"{b.pairs:,}", ha="center", fontsize=8, color=GREY
        )
    axes.set_xlim(0.48, 1.02)
    axes.set_ylim(lowest - 0.1, 1.02)
    axes.set_xlabel("sigmoid of the reward difference: P(favoured response is better)")
    axes.set_ylabel("share of favoured responses that were better")
    error = found.expected_error
    axes.set_title(f"Reliability: expected calibration error {error}", fontsize=11)
    axes.legend(loc="upper left", fontsize=9)


def _accuracy(axes: Any, found: Report) -> None:
    """By margin; by sources where there are no scores."""
    by = "margin" if "margin" in found.by else "sources"
    rows = [found.overall, *found.by[by]][:MOST_ROWS]
    places = range(len(rows))
    for values, colour, mark, label in (
        ([row.accuracy for row in rows], BLUE, "o", "reward model"),
        ([row.length_only for row in rows], ORANGE, "^", "length only"),
        ([row.source_only for row in rows], GREEN, "s", "source only"),
    ):
        shift = {"o": -0.15, "^": 0.0, "s": 0.15}[mark]
        axes.errorbar(
            [place + shift for place in places], [e.value for e in values], _whiskers(values),
            color=colour, marker=mark, linestyle="none", capsize=3, label=label,
        )  # fmt: skip
    axes.axhline(0.5, linestyle="--", color=GREY, linewidth=1)
    names = ["all pairs", *(row.name for row in rows[1:])]
    axes.set_xticks(
        list(places), [f"{n}\n({r.pairs:,})" for n, r in zip(names, rows, strict=True)], fontsize=8,
        rotation=0 if by == "margin" else 30,
    )  # fmt: skip
    axes.set_ylim(-0.02, 1.05)
    axes.set_ylabel("share of pairs whose better response was found")
    what = "points of score between the two (pairs)" if by == "margin" else "sources (pairs)"
    axes.set_xlabel(what)
    axes.set_title(f"Accuracy by {by}, with {CONFIDENCE:.0%} intervals over prompts", fontsize=11)
    axes.legend(fontsize=9)


def _whiskers(found: list[Estimate]) -> list[list[float]]:
    """Below and above, as matplotlib takes them; a resample may miss the value by all."""
    return [[max(0, e.value - e.low) for e in found], [max(0, e.high - e.value) for e in found]]
