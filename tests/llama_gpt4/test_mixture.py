"""How often an epoch has each example, for any weights and files."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_gpt4.data_config import DataConfig
from llama_gpt4.errors import InputError
from llama_gpt4.mixture import times_in_epoch
from tests.llama_gpt4.test_batches import DATA

# Of each file its examples, and a weight that leaves some of them.
some_files = st.lists(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.floats(0.51 / n, 9))),
    min_size=1,
    max_size=5,
)


def weighted(*weights: float) -> DataConfig:
    return replace(DATA, files=[f"{i}.json" for i in range(len(weights))], weights=[*weights])


@given(some_files, st.integers(0, 2**63), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=100)
def test_every_example_is_there_as_often_as_its_file_weighs(files, seed, random) -> None:
    data = weighted(*(weight for _, weight in files))
    file_of = np.repeat(np.arange(len(files)), [n for n, _ in files])
    random.shuffle(file_of)  # they need not stand file by file
    times = times_in_epoch(file_of, data, seed)
    for file, (n, weight) in enumerate(files):
        mine = times[file_of == file]
        assert mine.sum() == round(weight * n)
        assert mine.max() - mine.min() <= 1
    assert times.tolist() == times_in_epoch(file_of, data, seed).tolist()


def test_without_weights_each_is_there_once() -> None:
    assert times_in_epoch(np.array([0, 0, 0]), DATA, 0).tolist() == [1, 1, 1]
    ones = weighted(1, 1)
    assert times_in_epoch(np.array([0, 1, 1]), ones, 0).tolist() == [1, 1, 1]


def test_what_is_drawn_of_a_file_depends_on_the_seed_and_not_on_other_files() -> None:
    alone = times_in_epoch(np.zeros(100, np.int64), weighted(0.5), 1)
    beside = times_in_epoch(np.repeat([0, 1], [100, 7]), weighted(0.5, 3), 1)
    assert beside[:100].tolist() == alone.tolist()
    assert times_in_epoch(np.zeros(100, np.int64), weighted(0.5), 2).tolist() != alone.tolist()
    both = times_in_epoch(np.repeat([0, 1], 100), weighted(0.5, 0.5), 1)
    assert both[:100].tolist() != both[100:].tolist()


def test_the_draw_is_the_same_for_ever() -> None:
    """A run must resume under the next numpy as well."""
    times = times_in_epoch(np.repeat([0, 1], [8, 4]), weighted(0.5, 1.5), 42)
    assert times.tolist() == [0, 0, 1, 1, 0, 1, 0, 1, 1, 2, 1, 2]


def test_a_larger_weight_keeps_what_a_smaller_one_drew() -> None:
    few, more, most = (
        times_in_epoch(np.zeros(100, np.int64), weighted(weight), 1) for weight in (0.2, 0.5, 1.5)
    )
    assert (few <= more).all() and (more < most).all()


def test_a_weight_that_leaves_nothing_of_a_file_is_an_error() -> None:
    small = weighted(1, 0.01)
    file_of = np.repeat([0, 1], [3, 40])
    with pytest.raises(
        InputError,
        match=r"data\.weights\[1\]=0\.01 of the 40 examples of 1\.json leaves none: raise it to "
        r"0\.025, or leave the file out",
    ):
        times_in_epoch(file_of, small, 0)
    assert times_in_epoch(file_of, weighted(1, 0.025), 0).sum() == 3 + 1


def test_a_file_without_examples_has_none() -> None:
    """All its records were dropped, which is not the weight's doing."""
    assert times_in_epoch(np.array([1, 1]), weighted(0.01, 2), 0).tolist() == [2, 2]
