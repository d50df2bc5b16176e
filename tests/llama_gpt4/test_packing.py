"""Run with: pytest tests/llama_gpt4/test_packing.py"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_gpt4.packing import Rows, best_fit, one_each

ROW = 24
lengths_of_examples = st.lists(st.integers(1, ROW), max_size=60).map(
    lambda sizes: np.array(sizes, dtype=np.int64)
)


def lengths_in_rows(rows: Rows, lengths: np.ndarray) -> list[list[int]]:
    return [lengths[rows.part(row, row + 1).examples].tolist() for row in range(len(rows))]


def rooms_of_simple_best_fit_decreasing(lengths: np.ndarray, row_tokens: int) -> list[int]:
    """Room left in each row, by the definition: every row is looked at for every example."""
    rooms: list[int] = []
    for length in sorted(lengths.tolist(), reverse=True):
        fitting = [row for row, room in enumerate(rooms) if room >= length]
        if fitting:
            rooms[min(fitting, key=lambda row: rooms[row])] -= length
        else:
            rooms.append(row_tokens - length)
    return rooms


def alpaca_like_lengths(n: int = 52_002, row_tokens: int = 2048) -> np.ndarray:
    """Lognormal with a mean near 220 tokens, which GPT-4's answers to Alpaca's questions have."""
    drawn = np.random.default_rng(0).lognormal(np.log(220) - 0.8**2 / 2, 0.8, n)
    return np.clip(drawn.astype(np.int64), 20, row_tokens)


@given(lengths_of_examples, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_every_example_is_in_one_row_and_no_row_exceeds_its_tokens(lengths, random):
    order = np.array(random.sample(range(len(lengths)), len(lengths)), dtype=np.int64)
    rows = best_fit(lengths, ROW, order)
    assert sorted(rows.examples.tolist()) == list(range(len(lengths)))
    assert rows.starts[0] == 0 and rows.starts[-1] == len(lengths)
    assert all(0 < sum(row) <= ROW for row in lengths_in_rows(rows, lengths))


@given(lengths_of_examples)
@settings(deadline=None)
def test_rows_are_filled_as_the_definition_of_best_fit_decreasing_fills_them(lengths):
    rows = best_fit(lengths, ROW, np.arange(len(lengths)))
    rooms = [ROW - sum(row) for row in lengths_in_rows(rows, lengths)]
    assert sorted(rooms) == sorted(rooms_of_simple_best_fit_decreasing(lengths, ROW))


@given(lengths_of_examples, st.integers(0, 99))
@settings(deadline=None)
def test_the_order_changes_which_examples_meet_but_not_the_shape_of_rows(lengths, seed):
    n = len(lengths)
    one = best_fit(lengths, ROW, np.arange(n))
    other = best_fit(lengths, ROW, np.random.default_rng(seed).permutation(n))
    assert lengths_in_rows(one, lengths) == lengths_in_rows(other, lengths)


def test_examples_of_equal_length_take_turns_in_the_given_order():
    lengths = np.array([3, 3, 3, 3])
    rows = best_fit(lengths, 6, np.array([2, 0, 3, 1]))
    assert rows.examples.tolist() == [2, 0, 3, 1] and rows.starts.tolist() == [0, 2, 4]


def test_the_best_fit_is_not_the_first_fit():
    # 7 and 6 open rows with rooms 3 and 4; 4 fills the second, 3 the first.
    rows = best_fit(np.array([7, 6, 3, 4]), 10, np.arange(4))
    assert rows.examples.tolist() == [0, 2, 1, 3] and rows.starts.tolist() == [0, 2, 4]


def test_52_002_examples_fill_rows_of_2048_to_99_7_percent():
    lengths = alpaca_like_lengths()
    order = np.random.default_rng(1).permutation(len(lengths))
    rows = best_fit(lengths, 2048, order)
    assert rows.fill_frac(lengths, 2048) >= 0.997


def test_without_packing_each_example_is_a_row():
    rows = one_each(3, np.array([2, 0, 1]))
    assert [rows.part(row, row + 1).examples.tolist() for row in range(3)] == [[2], [0], [1]]
    assert rows.fill_frac(np.array([2, 4, 6]), 8) == 0.5


def test_reordered_rows_keep_their_examples_together():
    rows = Rows(np.array([5, 6, 7, 8, 9]), np.array([0, 2, 3, 5])).reordered(np.array([2, 0, 1]))
    assert rows.examples.tolist() == [8, 9, 5, 6, 7] and rows.starts.tolist() == [0, 2, 4, 5]


def test_a_part_ends_where_the_rows_end():
    rows = Rows(np.array([5, 6, 7]), np.array([0, 2, 3]))
    assert rows.part(1, 9).examples.tolist() == [7] and len(rows.part(1, 9)) == 1
    assert len(rows.part(4, 9)) == 0 and rows.part(4, 9).examples.tolist() == []


def test_no_examples_make_no_rows():
    rows = best_fit(np.zeros(0, np.int64), 8, np.zeros(0, np.int64))
    assert len(rows) == 0 and rows.fill_frac(np.zeros(0, np.int64), 8) == 0
