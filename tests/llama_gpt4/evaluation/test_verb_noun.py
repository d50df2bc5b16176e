"""Counting of verbs and nouns on trees made by hand, and the figure's rule of what it shows."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llama_gpt4.evaluation.verb_noun import (
    Sunburst,
    count_pairs,
    ranked,
    side_by_side,
    sunburst,
    verb_and_noun,
)

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
PAPER = Sunburst(verbs=20, nouns=4, above=10)


@dataclass
class Word:
    lemma_: str
    pos_: str
    dep_: str = "ROOT"
    children: list["Word"] = field(default_factory=list)


def verb(lemma: str, *children: Word, dep: str = "ROOT") -> Word:
    return Word(lemma, "VERB", dep, list(children))


def noun(lemma: str, dep: str = "dobj", *children: Word) -> Word:
    return Word(lemma, "NOUN", dep, list(children))


def aux(lemma: str, *children: Word) -> Word:
    return Word(lemma, "AUX", "ROOT", list(children))


def test_the_object_of_the_root_is_taken() -> None:
    root = verb("have", noun("exercise", "nsubj"), noun("impact"), noun("effect"))
    assert verb_and_noun(root, "all") == ("have", "impact")


@pytest.mark.parametrize(
    "child", [Word("it", "PRON", "dobj"), Word("Paris", "PROPN", "dobj"), noun("way", "pobj")]
)
def test_only_a_noun_that_is_the_direct_object_counts(child: Word) -> None:
    assert verb_and_noun(verb("see", child), "all") == ("see", None)


def test_a_verb_below_the_first_child_is_found_both_ways() -> None:
    root = aux("be", noun("way", "nsubj", verb("eat", noun("diet"))), noun("plan", "attr"))
    assert verb_and_noun(root, "all") == verb_and_noun(root, "first_child") == ("eat", "diet")


def test_a_verb_below_a_later_child_is_what_the_notebook_misses() -> None:
    root = aux("be", noun("this", "nsubj"), noun("way", "attr", verb("save", noun("money"))))
    assert verb_and_noun(root, "all") == ("save", "money")
    assert verb_and_noun(root, "first_child") == (None, None)


def test_the_first_verb_in_the_order_of_the_text_wins() -> None:
    root = aux("be", noun("a", "nsubj", verb("read", noun("book"))), verb("do", noun("task")))
    assert verb_and_noun(root, "all") == ("read", "book")


def test_without_a_verb_there_is_none_however_deep_the_tree() -> None:
    root = noun("end", "ROOT")
    for _ in range(3000):  # deeper than Python's recursion
        root = noun("link", "ROOT", root)
    assert verb_and_noun(root, "all") == (None, None)


def corpus() -> list[Word]:
    """Sentences of which every count is known."""
    return [
        *[verb("have", noun("impact"))] * 13,
        *[verb("have", noun("effect"))] * 3,
        *[verb("have")] * 7,
        *[aux("be", noun("x", "nsubj"), noun("y", "attr", verb("have", noun("impact"))))] * 2,
        noun("title", "ROOT"),
    ]


def test_a_toy_corpus_counts_as_by_hand() -> None:
    counts = {
        descent: count_pairs(verb_and_noun(root, descent) for root in corpus())
        for descent in ("all", "first_child")
    }
    assert counts["all"] == {("have", "impact"): 15, ("have", "effect"): 3}
    assert counts["first_child"] == {("have", "impact"): 13, ("have", "effect"): 3}


def test_equal_counts_are_in_the_order_of_the_alphabet() -> None:
    counts = {("b", "x"): 2, ("a", "y"): 2, ("a", "x"): 1, ("c", "z"): 3}
    assert ranked(counts) == [("c", "z", 3), ("a", "y", 2), ("b", "x", 2), ("a", "x", 1)]


def test_the_sunburst_leaves_out_a_fifth_noun_and_a_rare_verb() -> None:
    counts = {("have", f"noun {n}"): 60 - n for n in range(6)}
    counts |= {(f"verb {n}", "thing"): 40 - n for n in range(19)}
    counts |= {("late", "noun"): 12, ("verb 0", "other"): 10}
    shown = sunburst(counts, PAPER)
    assert len(shown) == 20 and "late" not in shown
    assert shown["have"] == {f"noun {n}": 60 - n for n in range(4)}
    assert shown["verb 0"] == {"thing": 40}
    frequent = [pair for pair in ranked(counts) if pair[2] > PAPER.above]
    assert ("have", "noun 4", 56) in frequent and ("late", "noun", 12) in frequent


def test_a_verb_is_as_frequent_as_its_pairs_together() -> None:
    counts = {("one", "x"): 14, ("many", "x"): 11} | {("many", f"{n}"): 1 for n in range(9)}
    assert sunburst(counts, Sunburst(verbs=1, nouns=4, above=10)) == {"many": {"x": 11}}


def test_ranks_stand_side_by_side() -> None:
    counts = {"a": {("have", "impact"): 9, ("do", "it"): 1}, "b": {("play", "role"): 2}}
    assert side_by_side(counts, 25) == [
        {"a": ("have", "impact", 9), "b": ("play", "role", 2)},
        {"a": ("do", "it", 1), "b": None},
    ]
    assert len(side_by_side(counts, 1)) == 1
    assert side_by_side({}, 25) == []


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_published_figures_agree_and_follow_the_rule() -> None:
    figures = json.loads((Path(REAL_DATA or "") / "paper_figures.json").read_text("utf-8"))
    top = {(verb, noun): n for verb, noun, n in figures["fig1c_top25"]["gpt4"]}
    leaves = {
        (verb, noun): n
        for verb, nouns in figures["fig1a_sunburst_gpt4"].items()
        for noun, n in nouns.items()
    }
    common = top.keys() & leaves.keys()
    assert len(common) == 16 and all(top[pair] == leaves[pair] for pair in common)
    # Of the verbs shown, the rule picks the published leaves from all pairs that are known.
    verbs = {verb for verb, _ in leaves}
    known = {pair: n for pair, n in (top | leaves).items() if pair[0] in verbs}
    assert sunburst(known, PAPER) == figures["fig1a_sunburst_gpt4"]
    assert ("have", "capability", 49) in ranked(known)  # above 10, and not in the figure
    ours = side_by_side({"gpt4": top}, 25)
    assert [row["gpt4"][2] for row in ours if row["gpt4"]] == sorted(top.values(), reverse=True)
