"""What ranking was worth, in rewards: the groups beside each other, and the best of k answers
against how far choosing it moves the model. All intervals are over questions."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from llama_gpt4 import statistics
from llama_gpt4.files import bytes_aside
from llama_gpt4.statistics import CONFIDENCE, RESAMPLES, Estimate
from llama_gpt4_data.best_of_n import BestOf, curve
from llama_gpt4_data.ranked import Group, Ranked

BLUE, ORANGE = "#0072B2", "#D55E00"
"""Of Okabe and Ito's palette, told apart by everybody; marks and lines differ as well."""
MAX_LABELS = 12


def report_of(ranked: Ranked) -> dict[str, Any]:
    """As `report.json` has it. A reward counts from the mean of the question's own answers, since
    between questions a reward model promises nothing."""
    rewards = ranked.rewards
    return {
        "questions": len(ranked.questions),
        "answers_each": len(ranked.groups),
        "questions_with_ties": int((np.diff(rewards, axis=1) == 0).any(axis=1).sum()),
        "groups": [
            {
                "group": group.name,
                "model": group.model,
                "mean_reward": float(group.rewards.mean()),
                "over_mean_answer": asdict(_over_mean(ranked, group)),
                "mean_characters": float(np.mean([len(answer.text) for answer in group.answers])),
            }
            for group in ranked.all_groups
        ],
        "differences": [
            {"of": one.name, "from": other.name, "reward": asdict(difference)}
            for one, other, difference in _differences(ranked)
        ],
        "best_of_n": [
            {"k": p.k, "kl_upper_bound": p.kl, "reward": asdict(p.reward), "gain": asdict(p.gain)}
            for p in curve(rewards)
        ],
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
    }


def table(ranked: Ranked) -> str:
    """For the terminal."""
    lines = ["group  reward over the mean answer  characters"]
    for group in ranked.all_groups:
        characters = np.mean([len(answer.text) for answer in group.answers])
        lines.append(f"{group.name:<5}  {_over_mean(ranked, group)!s:<27}  {characters:10.0f}")
    lines += [f"{a.name} - {b.name}: {difference}" for a, b, difference in _differences(ranked)]
    lines += ["", "best of  KL (nats) at most  reward over one answer"]
    lines += [f"{p.k:7}  {p.kl:17.3f}  {p.gain}" for p in curve(ranked.rewards)]
    return "\n".join(lines)


def draw(ranked: Ranked, path: Path) -> None:
    """The groups on the left; on the right the best of k against the KL divergence."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_groups(left, ranked)
    _draw_curve(right, curve(ranked.rewards))
    left.set_ylabel("reward over the question's mean answer")
    right.set_ylabel("reward over one answer")
    right.set_xlabel("KL divergence, at most log k - (k - 1) / k (nats)")
    left.set_title(f"Groups of {len(ranked.questions):,} questions")
    right.set_title("Best of k answers")
    figure.supxlabel(f"bars and bands: {CONFIDENCE:.0%} bootstrap over questions", fontsize="small")
    with bytes_aside(path) as file:
        FigureCanvasAgg(figure).print_png(file)


def _draw_groups(axes: Any, ranked: Ranked) -> None:
    found = [_over_mean(ranked, group) for group in ranked.groups]
    ks = np.arange(1, len(found) + 1)
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.errorbar(
        ks,
        [e.value for e in found],
        _arms(found),
        fmt="o",
        color=BLUE,
        capsize=4,
        label="Rk, the k-th best",
    )
    if ranked.baseline is not None:
        b = _over_mean(ranked, ranked.baseline)
        axes.axhspan(b.low, b.high, color=ORANGE, alpha=0.2, linewidth=0)
        axes.axhline(b.value, color=ORANGE, linestyle="--", label="B, ordinary decoding")
        axes.legend()
    shown = ks[:: -(-len(ks) // MAX_LABELS)]
    axes.set_xticks(shown, [f"R{k}" for k in shown])


def _draw_curve(axes: Any, points: list[BestOf]) -> None:
    kls = [p.kl for p in points]
    axes.fill_between(
        kls, [p.gain.low for p in points], [p.gain.high for p in points], color=BLUE, alpha=0.2,
        linewidth=0,
    )  # fmt: skip
    axes.plot(kls, [p.gain.value for p in points], "o-", color=BLUE)
    for p in points[:: -(-len(points) // MAX_LABELS)]:
        axes.annotate(
            f"k = {p.k}", (p.kl, p.gain.value), (5, -13), textcoords="offset points",
            fontsize="small",
        )  # fmt: skip
    axes.margins(x=0.12, y=0.12)


def _arms(found: list[Estimate]) -> list[list[float]]:
    """How far the intervals reach below and above."""
    return [[e.value - e.low for e in found], [e.high - e.value for e in found]]


def _over_mean(ranked: Ranked, group: Group) -> Estimate:
    return statistics.mean(group.rewards - ranked.rewards.mean(axis=1))


def _differences(ranked: Ranked) -> Iterator[tuple[Group, Group, Estimate]]:
    """What the paper compares, question by question: R1 with B, B with Rn, R1 with Rn."""
    first, last, baseline = ranked.groups[0], ranked.groups[-1], ranked.baseline
    pairs = [(first, baseline), (baseline, last)] if baseline is not None else []
    for one, other in [*pairs, (first, last)]:
        assert one is not None and other is not None
        yield one, other, statistics.mean(one.rewards - other.rewards)
