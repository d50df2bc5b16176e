"""Rings whose areas are how often, with words where there is room for them."""

from collections.abc import Mapping

import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Wedge

from llama_gpt4.evaluation.report_sections import published
from llama_gpt4.evaluation.sunburst_figure import LARGEST_POINTS, SMALLEST_POINTS, sunbursts


def drawn(verbs: Mapping[str, Mapping[str, int]]) -> Axes:
    [axes] = sunbursts({"a": verbs}).axes
    return axes


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def wedges(axes: Axes) -> list[Wedge]:
    return [patch for patch in axes.patches if isinstance(patch, Wedge)]


def test_areas_are_how_often() -> None:
    axes = drawn({"写": {"信": 6, "诗": 3}, "have": {"impact": 3}})
    assert words(axes) == ["写", "信", "诗", "have", "impact"]
    degrees = [wedge.theta2 - wedge.theta1 for wedge in wedges(axes)]
    assert degrees == pytest.approx([270, 180, 90, 90, 90])
    assert wedges(axes)[0].theta2 == 90  # at the top


def test_a_narrow_verb_stands_beside_its_noun_and_a_very_narrow_pair_nowhere() -> None:
    axes = drawn({"have": {"impact": 960}, "eat": {"diet": 11}, "see": {"sea": 1}})
    assert words(axes) == ["have", "impact", "eat diet"]
    assert all(SMALLEST_POINTS <= text.get_fontsize() <= LARGEST_POINTS for text in axes.texts)


def test_labels_of_both_halves_can_be_read_from_below() -> None:
    for text in drawn(published()["sunburst"]["GPT-4"]).texts:
        assert abs((text.get_rotation() + 180) % 360 - 180) <= 90, text


def test_all_of_the_papers_words_are_there() -> None:
    verbs = published()["sunburst"]["GPT-4"]
    shown = " ".join(words(drawn(verbs)))
    assert all(word in shown for verb, nouns in verbs.items() for word in (verb, *nouns))


def test_neighbours_have_different_colours() -> None:
    for n in range(2, 21):
        colours = [w.get_facecolor() for w in wedges(drawn({f"v{i}": {"n": 1} for i in range(n)}))]
        verbs = colours[::2]
        assert all(a != b for a, b in zip(verbs, [*verbs[1:], verbs[0]], strict=True)), n
