"""What stands on the page of `report`: the figures of the paper with its numbers, ours beside."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

from llama_gpt4.evaluation.labels import labelled, short_names
from llama_gpt4.evaluation.verb_noun import Sunburst, sunburst

if TYPE_CHECKING:  # it takes its time, and `--help` does without
    from matplotlib.figure import Figure


@dataclass
class Section:
    """A figure with what is said of it."""

    title: str
    figure: "Figure | None" = None
    notes: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    picture: str = ""
    """The figure as a data URI."""


Results = dict[str, dict[str, dict[str, Any]]]
"""Content by kind, then by file."""
PAPERS_SUNBURST = Sunburst(verbs=20, nouns=4, above=10)


def published() -> dict[str, Any]:
    """The paper's numbers."""
    path = package_files("llama_gpt4") / "evaluation" / "published.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _settings(results: Results, kind: str, key: str = "settings") -> dict[str, str]:
    return {
        name: json.dumps(content.get(key), ensure_ascii=False, indent=1)
        for name, content in results.get(kind, {}).items()
    }


def _shown(found: Any, percent: bool = False) -> str:
    """A number with its interval, if it has one."""
    if found is None:
        return "none"
    scale, digits, unit = (100, 1, " %") if percent else (1, 3, "")
    value, low, high = (
        None if found.get(key) is None else f"{scale * found[key]:.{digits}f}"
        for key in ("value", "low", "high")
    )
    return f"{value}{unit} ({low} to {high})" if low and high else f"{value}{unit}"


def _of_paper(key: str) -> dict[str, Any]:
    return {f"{name} (paper)": found for name, found in published()[key].items()}


def _ours(results: Results, kind: str, key: str, taken: Iterable[str]) -> dict[str, Any]:
    """What stands under `key` in all files of this kind."""
    found = {file: content[key] for file, content in results.get(kind, {}).items()}
    return labelled(found, taken)


def sunburst_section(results: Results) -> Section:
    from llama_gpt4.evaluation.sunburst_figure import sunbursts

    sets = _of_paper("sunburst")
    known = {(verb, noun): n for verb, noun, n in published()["top_pairs"]["GPT-3"]["pairs"]}
    sets["GPT-3 (paper, of its 25 commonest pairs)"] = sunburst(known, PAPERS_SUNBURST)
    for name, found in _ours(results, "texts", "sets", sets).items():
        if found.get("pairs", {}).get("sunburst"):
            sets[name] = found["pairs"]["sunburst"]
    return Section(
        "Figure 1 (a, b): verbs and their objects",
        sunbursts(sets),
        [
            "The paper shows the twenty commonest verbs and up to four nouns of each, if they are "
            "there more than ten times. Of its figure for GPT-3 only the 25 commonest pairs are "
            "known as numbers. What is too narrow for its words has none."
        ],
        settings=_settings(results, "texts"),
    )


def pairs_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    sets = {name: each["pairs"] for name, each in _of_paper("top_pairs").items()}
    rows = [["set", "distinct pairs"]]
    rows += [[name, f"{each['unique']:,}"] for name, each in _of_paper("top_pairs").items()]
    for name, found in _ours(results, "texts", "sets", sets).items():
        if found.get("pairs"):
            sets[name] = found["pairs"]["counts"]
            rows.append([name, f"{found['pairs']['unique']:,}"])
    return Section(
        "Figure 1 (c): the 25 commonest verbs with their nouns", figures.top_pairs(sets), rows=rows
    )


def lengths_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    names = ["p10", "p25", "p50", "p75", "p90", "p95", "p99"]
    rows = [["set", *names]]
    sets = _of_paper("length_bins")
    for name, found in _of_paper("lengths").items():
        rows.append([name, *(f"{found[p][0]} to {found[p][1]}" for p in names)])
    for name, found in _ours(results, "texts", "sets", sets).items():
        if found.get("lengths"):
            sets[name] = found["lengths"]["bins"]
            percentiles = found["lengths"]["percentiles"]
            rows.append([name, *(f"{percentiles.get(p, float('nan')):.0f}" for p in names)])
    notes = ["Percentiles of the paper are bounds, recovered from the bars of its figure."]
    return Section("Figure 1 (d): words of the answers", figures.lengths(sets), notes, rows)


def scores_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    sets = _of_paper("scores")
    sets |= {
        name: found["counts"] for name, found in _ours(results, "scores", "sources", sets).items()
    }
    return Section(
        "Figure 2: scores of the judge",
        figures.scores(sets),
        ["The paper draws a smoothed density; these are the counts themselves."],
        settings=_settings(results, "scores"),
    )


def votes_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures
    from llama_gpt4.evaluation.vote_statistics import sign_test

    panels: dict[str, figures.Votes] = {}
    rows = [["models", "criterion", "votes", "first", "second", "tie", "sign test p", "alpha"]]

    def add(name: str, criterion: str, n: int, shares: list[Any], *tests: float | None) -> None:
        panels[name].shares[criterion] = shares
        told = ["none" if test is None else f"{test:.3g}" for test in tests]
        rows.append([name, criterion, f"{n:,}", *(_shown(s, True) for s in shares), *told])

    for name, of_paper in _of_paper("votes").items():
        first, second = name.removesuffix(" (paper)").split(" : ")
        panels[name] = figures.Votes(first, second)
        for criterion, counts in of_paper.items():
            shares = [{"value": n / sum(counts)} for n in counts]
            add(name, criterion, sum(counts), shares, sign_test(*counts[:2]), None)
    studies = {
        file: {" : ".join(content["models"].values()): content}
        for file, content in results.get("human", {}).items()
    }
    for name, content in labelled(studies, panels).items():
        panels[name] = figures.Votes(content["models"]["first"], content["models"]["second"])
        for criterion, found in content["criteria"].items():
            parts = [found["shares"][part] for part in ("first", "second", "tie")]
            shares = [part | {"value": part["share"]} for part in parts]
            add(name, criterion, found["votes"], shares, found["sign_test_p"], found["alpha"])
    return Section(
        "Figure 3: votes of people",
        figures.votes(panels),
        [
            "Shares of all votes on a criterion, with intervals over questions. Of the paper's 704 "
            "and 755 votes it is not known which are on one question: they have no intervals."
        ],
        rows,
        _settings(results, "human"),
    )


def judge_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    found = {
        file: {" : ".join(pair["models"]): pair for pair in content["pairs"]}
        for file, content in results.get("judge", {}).items()
    }
    short = short_names(found)
    ours = {
        short[file]: {
            name: pair["relative_score"] for name, pair in pairs.items() if pair["relative_score"]
        }
        for file, pairs in found.items()
    }
    rows = [["pair", "points", "relative score", "win rate", "at equal length", "conflicts"]]
    for name, pair in labelled(found).items():
        points = " : ".join(f"{p:g}" for p in pair["points"])
        conflicts = "none" if pair["conflicts"] is None else str(pair["conflicts"])
        rows.append([name, points, *(_shown(pair[key], True) for key in _RATES), conflicts])
    return Section(
        "Figures 4 and 5: points of the judge over those of the opponent",
        figures.relative_scores(published()["relative_scores"], ours),
        ["The paper's numbers have no intervals; of 80 questions they are some points wide."],
        rows if len(rows) > 1 else [],
        _settings(results, "judge"),
    )


_RATES = ("relative_score", "win_rate", "length_controlled_win_rate")


def rank_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    title, found = "Best of n, by the reward model", results.get("rank", {})
    if not found:
        return Section(title, notes=["No result of `rank` was given."])
    groups = {
        file: {each["group"]: each["over_mean_answer"] for each in content["groups"]}
        for file, content in found.items()
    }
    rows = [["group", "reward over the mean answer"]]
    rows += [[name, _shown(over)] for name, over in labelled(groups).items()]
    short = short_names(found)
    curves = {short[file]: content["best_of_n"] for file, content in found.items()}
    settings = _settings(results, "rank", "config")
    return Section(title, figures.best_of_n(curves), [], rows, settings)


def reward_section(results: Results) -> Section:
    title, found = "What the reward model learnt", results.get("reward", {})
    groups = {
        file: {row["name"]: row for row in (content["overall"], *content["by"].get("sources", []))}
        for file, content in found.items()
    }
    rows = [["pairs", "number", "accuracy", "length only", "source only"]]
    for name, row in labelled(groups).items():
        measures = [_shown(row[k]) for k in ("accuracy", "length_only", "source_only")]
        rows.append([name, str(row["pairs"]), *measures])
    if not found:
        note = "No report of a reward model was given; the paper published none."
        return Section(title, notes=[note])
    return Section(title, rows=rows, settings=_settings(results, "reward", "config"))


def rouge_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    found: dict[str, dict[str, Any]] = {}
    for file, content in results.get("rouge", {}).items():
        models = found.setdefault(file, {})
        for bucket in content["buckets"]:
            for model, measures in bucket["means"].items():
                models.setdefault(model, {})[bucket["name"]] = measures["rougeL"]
    return Section(
        "Figure 6: ROUGE-L by the length of the reference",
        figures.rouge(published()["rouge_l"], labelled(found)),
        [
            "The axis begins at 0; the paper's at 0.28. Other references give other numbers.",
            *(
                f"{file}: tokens are {content['tokenizer']}. Lengths are {content['length_unit']}."
                for file, content in results.get("rouge", {}).items()
            ),
        ],
        settings=_settings(results, "rouge"),
    )


def benchmarks_section(results: Results) -> Section:
    title, found = "Tasks of the lm-evaluation-harness", results.get("lm_eval", {})
    rows = [["model", "task", "metric", "filter", "shots", "questions", "value", "standard error"]]
    for content in found.values():
        for score in content["scores"]:
            counts = [
                "" if score[key] is None else str(score[key]) for key in ("shots", "questions")
            ]
            error = "" if score["stderr"] is None else f"{score['stderr']:.4f}"
            named = [content["model"], *(score[key] for key in ("task", "metric", "filter"))]
            rows.append([*named, *counts, f"{score['value']:.4f}", error])
    if not found:
        return Section(title, notes=["No result of `evaluate metric=lm_eval` was given."])
    return Section(title, rows=rows, settings=_settings(results, "lm_eval"))


SECTIONS: tuple[Callable[[Results], Section], ...] = (
    sunburst_section,
    pairs_section,
    lengths_section,
    scores_section,
    votes_section,
    judge_section,
    rank_section,
    reward_section,
    rouge_section,
    benchmarks_section,
)
