"""`llama-gpt4 data compare`: ratings become pairs of a better and a worse answer, for reward models
and preference training. Nothing is asked of anybody."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError, require, require_one_of
from llama_gpt4.files import write_array, write_json, write_jsonl
from llama_gpt4.help import wants_help
from llama_gpt4.program import hold, run_program
from llama_gpt4.prompt import render_chat
from llama_gpt4_data.comparisons import Comparison, read_comparisons
from llama_gpt4_data.pairs import UNKNOWN, Pair, Paired, paired, source_pair
from llama_gpt4_data.task import require_apart

PROGRAM = "data_gen/compare"
OUTPUTS = ("v1.json", "v2.json", "preferences.jsonl")
DROPPED = ("empty", "out_of_range")
"""Why an answer is in no pair."""


@dataclass(kw_only=True)
class CompareConfig:
    """Which ratings become pairs."""

    files: list[str]
    """JSON or JSONL of comparisons in any published layout, such as `data.json` of `data rate`."""
    output_dir: str
    ties: str
    """Prompts whose answers all have the same score: `drop`, or `keep` them in the file of
    scores. No pair is made of a tie."""
    out_of_range: str
    """Scores that are not within 1 to 10: `keep`, or `drop` the answer."""

    def __post_init__(self) -> None:
        require(bool(self.files), "files is empty: name at least one file of comparisons")
        require_one_of("ties", self.ties, ("keep", "drop"))
        require_one_of("out_of_range", self.out_of_range, ("keep", "drop"))


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help(PROGRAM, CompareConfig, arguments):
        return 0
    return run_program("data compare", lambda report: run(arguments))


def run(arguments: Sequence[str]) -> None:
    """Write the pairs in three layouts, and say what became of every answer."""
    config = compose(CompareConfig, PROGRAM, arguments)
    result = paired(read_comparisons(config.files), keep_out_of_range=config.out_of_range == "keep")
    report = report_of(result)
    if not report["pairs"]:
        raise InputError(f"files: no answer is better than another: {'; '.join(lines(report))}")
    pairs = list(chain.from_iterable(result.pairs))
    output_dir = Path(config.output_dir)
    require_apart(config.files, output_dir, OUTPUTS, key="output_dir")
    lock = hold(output_dir, key="output_dir")
    write_array(output_dir / "v1.json", map(as_v1, pairs))
    write_array(output_dir / "v2.json", scored(result, keep_ties=config.ties == "keep"))
    write_jsonl(output_dir / "preferences.jsonl", map(as_preference, pairs))
    write_json(output_dir / "report.json", report)
    os.close(lock)
    print("\n".join(lines(report)))
    print(f"{output_dir}/{', '.join(OUTPUTS)}, report.json", flush=True)


def prompt_text(comparison: Comparison) -> str:
    """The turns as Alpaca's prompt, wrapped once."""
    try:
        return render_chat(comparison.turns, bos_token="", eos_token="\n\n")
    except InputError as error:
        raise InputError(f"{comparison.name}: {error}") from None


def as_v1(pair: Pair) -> dict[str, str]:
    """The layout that the paper's first file had; `completion_a` is the better one."""
    return {
        "user_input": prompt_text(pair.comparison),
        "completion_a": pair.chosen.text,
        "completion_b": pair.rejected.text,
    }


def scored(result: Paired, *, keep_ties: bool) -> Iterator[dict[str, Any]]:
    """The answers of each prompt with their scores, as the paper's second file has them."""
    for comparison, pairs in zip(result.comparisons, result.pairs, strict=True):
        is_tie = not pairs and len(comparison.responses) > 1
        if comparison.is_scored and (pairs or (keep_ties and is_tie)):
            yield {
                "user_input": prompt_text(comparison),
                "responses_and_scores": [
                    {"response": r.text, "source": r.source, "score": r.score}
                    for r in comparison.responses
                ],
            }


def as_preference(pair: Pair) -> dict[str, Any]:
    """Messages as preference trainers take them, and where they come from."""
    comparison = pair.comparison
    return {
        "prompt": comparison.turns,
        "chosen": [{"role": "assistant", "content": pair.chosen.text}],
        "rejected": [{"role": "assistant", "content": pair.rejected.text}],
        "score_chosen": pair.chosen.score,
        "score_rejected": pair.rejected.score,
        "margin": pair.margin,
        "chosen_source": pair.chosen.source,
        "rejected_source": pair.rejected.source,
        "derived_from": {
            "id": comparison.id,
            "file": comparison.file,
            "index": comparison.index,
        },
        "licence": comparison.licence,
    }


def report_of(result: Paired) -> dict[str, Any]:
    """Counts that add up: of prompts, of answers, and of candidates for pairs."""
    with_pairs = sum(map(bool, result.pairs))
    return {
        "task": "compare",
        "prompts": len(result.pairs),
        "with_pairs": with_pairs,
        "without_pairs": len(result.pairs) - with_pairs,
        "unscored": result.n_unscored,
        "responses": {state: result.responses[state] for state in ("used", *DROPPED)},
        "scores_out_of_range": result.n_out_of_range,
        "candidates": result.candidates.total(),
        **{state: result.candidates[state] for state in ("pairs", "ties", "same_text")},
        "by_sources": _by_sources(result),
        "licences": sorted({c.licence or UNKNOWN for c in result.comparisons}),
    }


def _by_sources(result: Paired) -> list[dict[str, Any]]:
    """Who won against whom, how often and by how many points: most pairs of the paper have a small
    model that loses, which is easily learned and says little about the others."""
    found: dict[tuple[str, str], list[Pair]] = {key: [] for key in result.ties_between}
    for pair in chain.from_iterable(result.pairs):
        found.setdefault(source_pair(pair.chosen, pair.rejected), []).append(pair)
    rows = []
    for sources, pairs in sorted(found.items()):
        margins = [pair.margin for pair in pairs if pair.margin is not None]
        wins = Counter((pair.chosen.source or UNKNOWN) == sources[0] for pair in pairs)
        rows.append(
            {
                "sources": list(sources),
                "first_wins": wins[True],
                "second_wins": wins[False],
                "ties": result.ties_between[sources],
                "mean_margin": fmean(margins) if margins else None,
            }
        )
    return rows


def lines(report: dict[str, Any]) -> list[str]:
    """The report in a few lines."""
    responses = report["responses"]
    dropped = ", ".join(f"{responses[state]} {state.replace('_', ' ')}" for state in DROPPED)
    told = [
        f"{report['prompts']} prompts: {report['with_pairs']} with pairs, "
        f"{report['without_pairs']} without",
        f"{sum(responses.values())} answers: {responses['used']} used, dropped {dropped}",
        f"{report['candidates']} candidates: {report['pairs']} pairs, {report['ties']} ties, "
        f"{report['same_text']} of the same text",
    ]
    if report["scores_out_of_range"]:
        told.append(f"{report['scores_out_of_range']} scores are not within 1 to 10")
    if report["unscored"]:
        told.append(f"{report['unscored']} prompts have no scores: the order is the file's")
    for row in report["by_sources"]:
        first, second = row["sources"]
        margin = row["mean_margin"]
        points = "" if margin is None else f", by {margin:.2f} points"
        wins = f"{first} {row['first_wins']} : {row['second_wins']} {second}"
        if first == second:
            wins = f"{first}: {row['first_wins']} pairs"
        told.append(f"{wins}, {row['ties']} ties{points}")
    told.append(f"licence of the ratings: {', '.join(report['licences'])}")
    return told
