"""Figure 1 (a, b): verbs in the inner ring, their nouns in the outer one, areas by how often.

A label lies along the radius. What is too narrow for its verb has it beside the noun; what is too
narrow for any label has none.
"""

import math
import unicodedata
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from llama_gpt4.evaluation.figures import COLOURS

Verbs = Mapping[str, Mapping[str, int]]
"""How often each noun is with each verb."""

SIDE_INCHES, TITLE_INCHES = 5.6, 0.35
RADIUS_POINTS = 72 * SIDE_INCHES / 2
VERBS, NOUNS = (0.2, 0.57), (0.57, 0.99)
"""Where a ring begins and ends, in radii."""
LARGEST_POINTS, SMALLEST_POINTS = 9.0, 5.5
"""Of a label."""
EM_LATIN = 0.58
"""A Latin letter is about so wide, in sizes of the font; a Chinese one has 1."""


def sunbursts(sets: Mapping[str, Verbs]) -> Figure:
    """A panel each, two in a row."""
    rows = -(-len(sets) // 2)
    height = rows * (SIDE_INCHES + TITLE_INCHES)
    figure = Figure(figsize=(2 * SIDE_INCHES, height))
    for place, (name, verbs) in enumerate(sets.items()):
        below = height - (place // 2 + 1) * (SIDE_INCHES + TITLE_INCHES)
        axes = figure.add_axes((place % 2 / 2, below / height, 1 / 2, SIDE_INCHES / height))
        axes.set(xlim=(-1, 1), ylim=(-1, 1))
        axes.set_axis_off()
        axes.set_title(name, fontsize=10)
        _draw(axes, verbs)
    return figure


def _draw(axes: Axes, verbs: Verbs) -> None:
    total = sum(sum(nouns.values()) for nouns in verbs.values())
    n_colours = len(COLOURS) - 1  # not black
    if len(verbs) % n_colours == 1:
        n_colours -= 1  # the last and the first stand beside each other
    start = 90.0  # at the top, and clockwise
    for place, (verb, nouns) in enumerate(verbs.items()):
        colour = to_rgb(COLOURS[place % n_colours])
        end = start - 360 * sum(nouns.values()) / total
        has_label = _wedge(axes, VERBS, (start, end), colour, verb)
        for number, (noun, n) in enumerate(nouns.items()):
            label = noun if has_label else f"{verb} {noun}"
            end = start - 360 * n / total
            _wedge(axes, NOUNS, (start, end), _lighter(colour, 0.45 + 0.2 * (number % 2)), label)
            start = end


def _wedge(
    axes: Axes,
    ring: tuple[float, float],
    angles: tuple[float, float],
    colour: tuple[float, ...],
    label: str,
) -> bool:
    """Draw a part of a ring; whether it had room for its label."""
    (inside, outside), (start, end) = ring, angles
    axes.add_patch(
        Wedge((0, 0), outside, end, start, width=outside - inside, color=colour, ec="white")
    )
    middle, angle = (inside + outside) / 2, (start + end) / 2
    arc = RADIUS_POINTS * middle * math.radians(start - end)
    length = RADIUS_POINTS * (outside - inside) - 6
    size = min(LARGEST_POINTS, 0.85 * arc, length / _ems(label))
    if size < SMALLEST_POINTS:
        return False
    x, y = (middle * f(math.radians(angle)) for f in (math.cos, math.sin))
    axes.text(
        x, y, label, fontsize=size, color="black" if _lightness(colour) > 0.4 else "white",
        rotation=angle if x >= 0 else angle + 180, rotation_mode="anchor",
        ha="center", va="center_baseline",
    )  # fmt: skip
    return True


def _ems(text: str) -> float:
    return sum(1 if unicodedata.east_asian_width(c) in "WF" else EM_LATIN for c in text)


def _lighter(colour: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(part + (1 - part) * share for part in colour)


def _lightness(colour: tuple[float, ...]) -> float:
    """0 to 1, by the weights of ITU-R BT.709."""
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), colour, strict=True))
