"""Figures hold what they are given: labels, bars and intervals."""

import io

import pytest
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from llama_gpt4.evaluation import figures
from llama_gpt4.evaluation.report_sections import published

E = {"value": 0.5, "low": 0.4, "high": 0.7}


def labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_the_commonest_pairs_are_named() -> None:
    figure = figures.top_pairs({"a (paper)": [["have", "impact", 9]], "我们": [["写", "信", 4]]})
    assert [labels(axes) for axes in figure.axes] == [["have impact"], ["写 信"]]


def test_votes_fill_the_whole_width() -> None:
    shares = [{"value": share} for share in (0.6, 0.1, 0.3)]
    figure = figures.votes({"a : b": figures.Votes("a", "b", {"helpfulness": shares})})
    bars = [patch.get_width() for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert sum(bars) == pytest.approx(1) and labels(figure.axes[0]) == ["Helpfulness"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["60%", "30%", "10%"]
    assert not figure.axes[0].collections


def test_votes_have_their_intervals_where_a_bar_ends() -> None:
    ends = [(0.6, 0.5, 0.65), (0.1, 0.05, 0.2), (0.3, 0.2, 0.4)]
    shares = [dict(zip(("value", "low", "high"), end, strict=True)) for end in ends]
    figure = figures.votes({"a : b": figures.Votes("a", "b", {"helpfulness": shares})})
    drawn = [lines.get_segments()[0][:, 0] for lines in figure.axes[0].collections]
    assert [list(each) for each in drawn] == [
        pytest.approx([0.5, 0.65]),
        pytest.approx([0.8, 0.95]),
    ]


def test_ours_has_an_interval_and_theirs_has_none() -> None:
    figure = figures.relative_scores({"paper": {"x": [50, 100]}}, {"ours": {"y": E}})
    theirs, ours = figure.axes
    assert not theirs.collections and ours.collections
    assert [text.get_text() for text in (*theirs.texts, *ours.texts)] == ["50%", "50%"]


def test_the_number_of_a_short_bar_stands_behind_it() -> None:
    bars = {"a": {"value": 9.0}, "b": {"value": 0.1, "low": 0.05, "high": 0.2}}
    long, short = figures.relative_scores({}, {"ours": bars}).axes[0].texts
    assert (long.get_text(), long.get_color()) == ("900%", "white")
    assert (short.get_text(), short.get_color()) == ("10%", "black")
    assert short.get_position()[0] > 20


def test_a_bucket_that_ours_lacks_is_left_out() -> None:
    bar = {"mean": 0.3, "low": 0.2, "high": 0.4}
    figure = figures.rouge(published()["rouge_l"], {"m": {"0-2": bar, "ALL": bar}})
    assert len(figure.axes[0].patches) == 3 * 5 + 2


def test_scores_are_shares() -> None:
    [line] = figures.scores({"a": {"7.5": 1, "10": 3}}).axes[0].lines
    assert list(line.get_ydata()) == [0.25, 0.75]


def test_lengths_and_best_of_n_are_drawn() -> None:
    bins = {"n": 2, "from": 0, "to": 10, "counts": [4, 1]}
    [axes] = figures.lengths({"a": bins}).axes
    assert axes.patches and axes.yaxis.get_major_formatter()(1000) == "1,000"
    curve = [{"k": k, "kl_upper_bound": k / 2, "gain": E} for k in (1, 2)]
    assert [t.get_text() for t in figures.best_of_n({"a": curve}).axes[0].texts] == [" 1", " 2"]
    assert len(figures.best_of_n({"a": curve, "b": curve}).axes[0].lines) == 2


def test_no_source_is_dropped_when_colours_run_out() -> None:
    many = {f"s{i}": {"8": 1} for i in range(len(figures.COLOURS) + 1)}
    assert len(figures.scores(many).axes[0].lines) == len(many)


def test_a_name_is_no_formula() -> None:
    with rc_context(figures.settings()):
        figures.scores({"$x_{$": {"8": 1}}).savefig(io.BytesIO(), format="svg")
