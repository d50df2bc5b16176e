"""What stands on the page of `report`: the figures of the paper with its numbers, ours beside."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

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
    """A number with its interval."""
    if found is None:
        return "none"
    scale, digits, unit = (100, 1, " %") if percent else (1, 3, "")
    value, low, high = (
        None if found.get(key) is None else f"{scale * found[key]:.{digits}f}"
        for key in ("value", "low", "high")
    )
    return f"{value}{unit} ({low} to {high})" if low and high else f"{value}{unit}"


def pairs_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    paper = published()["top_pairs"]
    sets = {f"{name} (paper)": each["pairs"] for name, each in paper.items()}
    rows = [["set", "distinct pairs"]]
    rows += [[f"{name} (paper)", f"{each['unique']:,}"] for name, each in paper.items()]
    for content in results.get("texts", {}).values():
        for name, found in content["sets"].items():
            if found.get("pairs"):
                sets[name] = found["pairs"]["counts"]
                rows.append([name, f"{found['pairs']['unique']:,}"])
    return Section(
        "Figure 1 (a-c): verbs and their nouns",
        figures.top_pairs(sets),
        ["The paper's sunbursts are of the same pairs; drawn are the 25 commonest of each set."],
        rows,
        _settings(results, "texts"),
    )


def lengths_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    names = ["p10", "p25", "p50", "p75", "p90", "p95", "p99"]
    rows = [["set", *names]]
    paper = published()
    sets = {f"{name} (paper)": bins for name, bins in paper["length_bins"].items()}
    for name, found in paper["lengths"].items():
        bounds = [f"{found[p][0]} to {found[p][1]}" for p in names]
        rows.append([f"{name} (paper)", *bounds])
    for content in results.get("texts", {}).values():
        for name, found in content["sets"].items():
            if found.get("lengths"):
                sets[name] = found["lengths"]["bins"]
                percentiles = found["lengths"]["percentiles"]
                rows.append([name, *(f"{percentiles.get(p, float('nan')):.0f}" for p in names)])
    notes = ["Percentiles of the paper are bounds, recovered from the bars of its figure."]
    return Section("Figure 1 (d): words of the answers", figures.lengths(sets), notes, rows)


def scores_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    sets = {f"{name} (paper)": counts for name, counts in published()["scores"].items()}
    for content in results.get("scores", {}).values():
        sets |= {name: found["counts"] for name, found in content["sources"].items()}
    return Section(
        "Figure 2: scores of the judge",
        figures.scores(sets),
        ["The paper draws a smoothed density; these are the counts themselves."],
        settings=_settings(results, "scores"),
    )


def votes_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    sets = {f"{name} (paper)": each for name, each in published()["votes"].items()}
    rows = [["criterion", "votes", "first", "second", "tie", "sign test p", "alpha"]]
    for content in results.get("human", {}).values():
        models = content["models"]
        sets[f"{models['first']} : {models['second']}"] = {
            name: [found["counts"][part] for part in ("first", "second", "tie")]
            for name, found in content["criteria"].items()
        }
        for name, found in content["criteria"].items():
            shares = [
                _shown(found["shares"][part] | {"value": found["shares"][part]["share"]}, True)
                for part in ("first", "second", "tie")
            ]
            rest = ["none" if found[k] is None else f"{found[k]:.3g}" for k in _TESTS]
            rows.append([name, str(found["votes"]), *shares, *rest])
    return Section(
        "Figure 3: votes of people",
        figures.votes(sets),
        ["Shares of all votes on a criterion; the paper has 704 and 755 on each."],
        rows if len(rows) > 1 else [],
        _settings(results, "human"),
    )


_TESTS = ("sign_test_p", "alpha")


def judge_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    ours = {}
    rows = [["pair", "points", "relative score", "win rate", "at equal length", "conflicts"]]
    for file, content in results.get("judge", {}).items():
        panel: dict[str, Any] = {}
        for pair in content["pairs"]:
            first, second = pair["models"]
            panel[f"{first} : {second}"] = pair["relative_score"]
            points = " : ".join(f"{p:g}" for p in pair["points"])
            conflicts = "none" if pair["conflicts"] is None else str(pair["conflicts"])
            told = [_shown(pair[key], True) for key in _RATES]
            rows.append([f"{first} : {second}", points, *told, conflicts])
        ours[file] = {name: found for name, found in panel.items() if found}
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
    content = list(found.values())[-1]
    rows = [["group", "reward over the mean answer"]]
    rows += [[each["group"], _shown(each["over_mean_answer"])] for each in content["groups"]]
    settings = _settings(results, "rank", "config")
    return Section(title, figures.best_of_n(content["best_of_n"]), [], rows, settings)


def reward_section(results: Results) -> Section:
    title, found = "What the reward model learnt", results.get("reward", {})
    rows = [["pairs", "number", "accuracy", "length only", "source only"]]
    for content in found.values():
        groups = [content["overall"], *content["by"].get("sources", [])]
        for row in groups:
            measures = [_shown(row[k]) for k in ("accuracy", "length_only", "source_only")]
            rows.append([row["name"], str(row["pairs"]), *measures])
    notes = [] if found else ["No report of a reward model was given; the paper published none."]
    return Section(title, None, notes, rows if found else [])


def rouge_section(results: Results) -> Section:
    from llama_gpt4.evaluation import figures

    ours: dict[str, dict[str, Any]] = {}
    for content in results.get("rouge", {}).values():
        for bucket in content["buckets"]:
            for model, measures in bucket["means"].items():
                ours.setdefault(model, {})[bucket["name"]] = measures["rougeL"]
    return Section(
        "Figure 6: ROUGE-L by the length of the reference",
        figures.rouge(published()["rouge_l"], ours),
        ["The axis begins at 0; the paper's at 0.28. Other references give other numbers."],
        settings=_settings(results, "rouge"),
    )


SECTIONS: tuple[Callable[[Results], Section], ...] = (
    pairs_section,
    lengths_section,
    scores_section,
    votes_section,
    judge_section,
    rank_section,
    reward_section,
    rouge_section,
)
