"""Sections of RewardBench weigh their subsets as the benchmark does."""

import numpy as np
import pytest
from llama_gpt4_data.reward_bench import SECTIONS, section_weights, sections

COUNTS = {"math-prm": 447} | {subset: 164 for subset in SECTIONS["Reasoning"][1:]}
"""Of the benchmark's filtered split (its data card)."""


def test_a_subset_is_of_one_section() -> None:
    assert len({s for subsets in SECTIONS.values() for s in subsets}) == 23
    found = sections(np.array(["mt-bench-hard", "donotanswer", "mine"]))
    assert found.tolist() == ["Chat Hard", "Safety", ""]


def test_mathematics_weighs_as_much_as_code() -> None:
    """The reference weighs `math-prm` by 984 and each subset of code by 164."""
    subsets = np.repeat(list(COUNTS), list(COUNTS.values()))
    accuracy = dict(zip(COUNTS, np.linspace(0.2, 0.8, 7), strict=True))
    values = np.array([accuracy[subset] for subset in subsets])
    weights = section_weights(subsets)
    reference = np.average(list(accuracy.values()), weights=[984, *[164] * 6])
    assert np.average(values, weights=weights) == pytest.approx(reference)


def test_without_code_mathematics_weighs_what_it_has() -> None:
    assert section_weights(np.array(["math-prm", "mine"])).tolist() == [1, 1]
