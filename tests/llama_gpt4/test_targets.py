"""Answers as spans: found again for any choice of examples, and refused where they cannot be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_gpt4.targets import Targets

# Of each example, for each of its turns: tokens of the prompt, and of the answer.
some_examples = st.lists(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=4),
    min_size=1,
    max_size=12,
)


def spans_of(turns: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Place and tokens of each answer."""
    found, at = [], 0
    for prompt, answer in turns:
        found.append((at + prompt, answer))
        at += prompt + answer
    return found


@given(some_examples, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=100)
def test_the_answers_of_any_examples(examples, random):
    table = [(i, *span) for i, turns in enumerate(examples) for span in spans_of(turns)]
    lengths = np.array([sum(map(sum, turns)) for turns in examples])
    targets = Targets.from_table(np.array(table), lengths)
    assert targets.counts.tolist() == [sum(answer for _, answer in t) for t in examples]
    chosen = [random.randrange(len(examples)) for _ in range(7)]
    found = np.stack(targets.answers_of(np.array(chosen)), axis=1).tolist()
    assert found == [
        [place, *span] for place, i in enumerate(chosen) for span in spans_of(examples[i])
    ]
    of_chosen = targets.chosen(np.array(chosen))
    assert of_chosen.counts.tolist() == targets.counts[chosen].tolist()
    assert np.stack(of_chosen.answers_of(np.arange(7)), axis=1).tolist() == found


@pytest.mark.parametrize(
    "table",
    [
        [(0, 2, 3)],  # the second example has none
        [(0, 2, 3), (1, 2, 3), (2, 2, 3)],
        [(1, 2, 3), (0, 2, 3)],
        [(0, 0, 3), (1, 2, 3)],  # what would predict its first token
        [(0, 2, 4), (1, 2, 3)],
        [(0, 2, 2), (0, 3, 2), (1, 2, 3)],  # they overlap
        [(0, 2, -1), (1, 2, 3)],
    ],
)
def test_answers_that_are_not_of_these_examples(table):
    with pytest.raises(ValueError, match="do not lie within its examples"):
        Targets.from_table(np.array(table), np.array([5, 5]))
