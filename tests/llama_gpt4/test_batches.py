"""Run with: pytest tests/llama_gpt4/test_batches.py"""

import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_gpt4 import batches as batches_module
from llama_gpt4.audit import RULES
from llama_gpt4.batches import Batch, Batches, evaluation_batches, target_weights
from llama_gpt4.data_config import DataConfig, DataPolicy, ValidationConfig
from llama_gpt4.errors import InputError
from llama_gpt4.targets import Targets
from tests.llama_gpt4.one_answer import after_prompts

ROW = 16
NORMALISATIONS = ("global_tokens", "micro_batch", "example")


@dataclass(frozen=True)
class SmallExamples:
    """Tokenised data in memory; token p of example i is 100 * i + p, so that each is unique."""

    lengths: np.ndarray
    prompt_lengths: np.ndarray

    @property
    def targets(self) -> Targets:
        return after_prompts(self.lengths, self.prompt_lengths)

    @property
    def n(self) -> int:
        return len(self.lengths)

    def tokens_of(self, i: int, /) -> np.ndarray:
        return (100 * i + np.arange(self.lengths[i])).astype(np.uint32)


def small(*sizes: tuple[int, int]) -> SmallExamples:
    """Examples given by (length, prompt length)."""
    table = np.array(sizes, np.int64).reshape(-1, 2)
    return SmallExamples(table[:, 0], table[:, 1])


DATA = DataConfig(
    files=["records.json"],
    weights=[],
    row_tokens=ROW,
    policy=DataPolicy(**dict.fromkeys(RULES, "drop")),
    decontaminate=[],
    decontaminate_rouge_l=0.7,
    batching="pack",
    last_window="keep",
    cache_dir="cache",
    validation=ValidationConfig(files=[], share=0),
)


@dataclass(frozen=True)
class Recipe:
    """How examples are batched, but for the ranks."""

    data: DataConfig = field(default_factory=lambda: DATA)
    rows_per_step: int = 8
    normalisation: str = "global_tokens"
    seed: int = 0

    def rank(self, examples: SmallExamples, rank: int, world_size: int, micro: int) -> Batches:
        return Batches(
            examples,
            self.data,
            rows_per_step=self.rows_per_step,
            rows_per_micro_step=micro,
            normalisation=self.normalisation,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )

    def ranks(self, examples: SmallExamples, world_size: int, micro: int) -> list[Batches]:
        return [self.rank(examples, rank, world_size, micro) for rank in range(world_size)]


some_examples = st.lists(
    st.integers(1, ROW).flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length))),
    min_size=1,
    max_size=40,
).map(lambda sizes: small(*sizes))
some_recipe = st.builds(
    Recipe,
    data=st.builds(
        replace,
        st.just(DATA),
        batching=st.sampled_from(["pack", "pad"]),
        last_window=st.sampled_from(["keep", "drop"]),
    ),
    rows_per_step=st.integers(1, 12),
    normalisation=st.sampled_from(NORMALISATIONS),
    seed=st.integers(0, 3),
)
some_world, some_micro = st.integers(1, 16), st.integers(1, 5)


def rows_that_fit(recipe: Recipe, examples: SmallExamples) -> Recipe:
    """`recipe` with a step small enough for `drop` to leave one."""
    keeping = replace(recipe, data=replace(recipe.data, last_window="keep"))
    rows = keeping.rank(examples, 0, 1, 1).rows_per_epoch
    return replace(recipe, rows_per_step=min(recipe.rows_per_step, rows))


def examples_of(batches: list[Batch]) -> Counter[int]:
    return Counter(example for batch in batches for example in batch.examples)


def whole_step(ranks: list[Batches], step: int) -> list[Batch]:
    return [batch for batches in ranks for batch in batches.micro_batches(step)]


def same(one: Batch, other: Batch) -> bool:
    return one.examples == other.examples and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("tokens", "positions", "target_rows", "targets", "weights")
    )


@given(some_examples, some_recipe, some_world, some_micro)
@settings(deadline=None, max_examples=200)
def test_any_ranks_and_micro_steps_share_the_same_windows(examples, recipe, world_size, micro):
    recipe = rows_that_fit(recipe, examples)
    ranks = recipe.ranks(examples, world_size, micro)
    [alone] = recipe.ranks(examples, 1, 1)
    assert {batches.steps_per_epoch for batches in ranks} == {alone.steps_per_epoch}
    for step in range(alone.steps_per_epoch + 1):  # one step of the next epoch as well
        counts = {len(list(batches.micro_batches(step))) for batches in ranks}
        assert counts == {batches.micro_steps(step) for batches in ranks}
        assert len(counts) == 1
        got = whole_step(ranks, step)
        assert examples_of(got) == examples_of(list(alone.micro_batches(step)))

        lengths = examples.lengths[list(examples_of(got).elements())]
        assert ranks[0].tokens(step) == lengths.sum()
        assert ranks[0].squared_lengths(step) == (lengths**2).sum()
        assert ranks[0].target_tokens(step) == sum(len(batch.targets) for batch in got)

        has_targets = any(len(batch.targets) for batch in got)
        total = sum(batch.weights.double().sum().item() for batch in got)
        assert total == pytest.approx(1 if has_targets else 0, abs=1e-6)


@given(some_examples, some_recipe, some_world, some_micro)
@settings(deadline=None, max_examples=200)
def test_a_batch_is_whole_examples_with_their_answers_as_targets(
    examples, recipe, world_size, micro
):
    ranks = rows_that_fit(recipe, examples).ranks(examples, world_size, micro)
    for batch in whole_step(ranks, 0):
        sizes = batch.document_lengths
        assert batch.tokens.dtype == batch.positions.dtype == torch.int64
        assert batch.target_rows.dtype == batch.targets.dtype == torch.int64
        assert batch.weights.dtype == torch.float32
        assert len(batch.tokens) == len(batch.positions) == sum(sizes) <= micro * ROW
        assert len(batch.target_rows) == len(batch.targets) == len(batch.weights)
        if not batch.examples:
            assert batch.tokens.tolist() == [0] and sizes == (1,) and len(batch.targets) == 0
            continue
        tokens = [t for i in batch.examples for t in examples.tokens_of(i).tolist()]
        learned = [
            t
            for i in batch.examples
            for t in examples.tokens_of(i)[examples.prompt_lengths[i] :].tolist()
        ]
        assert sizes == tuple(examples.lengths[list(batch.examples)].tolist())
        assert batch.tokens.tolist() == tokens
        assert batch.positions.tolist() == [p for size in sizes for p in range(size)]
        assert batch.targets.tolist() == learned
        assert torch.equal(batch.tokens[batch.target_rows + 1], batch.targets)
        # Neighbours in a row do not leak: a target never comes from another document's place.
        assert (
            batch.positions[batch.target_rows + 1] == batch.positions[batch.target_rows] + 1
        ).all()


@given(some_examples, some_recipe, some_world, some_micro)
@settings(deadline=None, max_examples=150)
def test_an_epoch_has_each_example_once(examples, recipe, world_size, micro):
    recipe = rows_that_fit(recipe, examples)
    ranks = recipe.ranks(examples, world_size, micro)
    steps = ranks[0].steps_per_epoch
    for epoch in range(2):
        seen = Counter()
        for step in range(epoch * steps, (epoch + 1) * steps):
            seen += examples_of(whole_step(ranks, step))
        assert max(seen.values()) == 1
        if recipe.data.last_window == "keep":
            assert sorted(seen) == list(range(examples.n))


@given(some_examples, some_world, some_micro)
@settings(deadline=None, max_examples=150)
def test_evaluation_has_each_example_once_and_is_the_mean_over_targets(examples, world_size, micro):
    ranks = [
        list(evaluation_batches(examples, ROW, micro, rank, world_size))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    got = [batch for batches in ranks for batch in batches]
    assert examples_of(got) == Counter(range(examples.n))
    n_targets = int((examples.lengths - examples.prompt_lengths).sum())
    for batch in got:
        assert batch.weights.tolist() == pytest.approx([1 / max(1, n_targets)] * len(batch.targets))


def many_examples(n: int = 300) -> SmallExamples:
    lengths = np.random.default_rng(0).integers(2, ROW + 1, n)
    return SmallExamples(lengths, lengths // 2)


def epoch_order(batches: Batches, epoch: int) -> list[int]:
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    return [i for step in steps for batch in batches.micro_batches(step) for i in batch.examples]


@pytest.mark.parametrize("batching", ["pack", "pad"])
def test_the_order_is_that_of_seed_and_epoch(batching):
    recipe = Recipe(replace(DATA, batching=batching))
    [one], [again] = (recipe.ranks(many_examples(), 1, 4) for _ in range(2))
    [other] = replace(recipe, seed=1).ranks(many_examples(), 1, 4)
    assert epoch_order(one, 0) == epoch_order(again, 0)
    assert epoch_order(one, 0) != epoch_order(one, 1)
    assert epoch_order(one, 0) != epoch_order(other, 0)
    assert epoch_order(one, 1) != epoch_order(other, 0)
    assert sorted(epoch_order(one, 1)) == sorted(epoch_order(other, 0)) == list(range(300))


def test_packed_neighbours_change_with_the_epoch():
    [batches] = Recipe(rows_per_step=1).ranks(many_examples(), 1, 1)
    steps = batches.steps_per_epoch
    rows = [
        {
            frozenset(examples_of(list(batches.micro_batches(epoch * steps + step))))
            for step in range(steps)
        }
        for epoch in range(2)
    ]
    assert len(rows[0]) == len(rows[1]) == steps
    assert len(rows[0] & rows[1]) < steps / 2


def test_rows_of_long_and_short_examples_come_mixed():
    # Packing makes the rows of the longest examples first; trained so, an epoch would be a sort.
    [batches] = Recipe(rows_per_step=1).ranks(many_examples(), 1, 1)
    longest = [
        max(batch.document_lengths)
        for step in range(batches.steps_per_epoch)
        for batch in batches.micro_batches(step)
    ]
    assert longest != sorted(longest, reverse=True)
    half = len(longest) // 2
    assert abs(np.mean(longest[:half]) - np.mean(longest[half:])) < 2


def weight_of_examples(got: list[Batch]) -> dict[int, float]:
    """The weight of one target of each example in `got`."""
    found = {}
    for batch in got:
        document = torch.repeat_interleave(
            torch.arange(len(batch.document_lengths)), torch.tensor(batch.document_lengths)
        )
        for place, weight in zip(batch.target_rows, batch.weights.tolist(), strict=True):
            found[batch.examples[int(document[place])]] = weight
    return found


@pytest.mark.parametrize("normalisation", ["global_tokens", "example"])
def test_the_loss_does_not_depend_on_how_a_window_is_split(normalisation):
    examples = many_examples(60)
    recipe = Recipe(rows_per_step=8, normalisation=normalisation)
    [alone] = recipe.ranks(examples, 1, 8)
    for step in (0, alone.steps_per_epoch - 1):  # the last window is a short one
        whole = weight_of_examples(list(alone.micro_batches(step)))
        for world_size, micro in [(1, 1), (2, 1), (2, 4), (4, 1), (4, 3), (16, 2)]:
            got = whole_step(recipe.ranks(examples, world_size, micro), step)
            assert weight_of_examples(got) == whole
    assert alone.rows_per_epoch % 8


def test_a_step_is_found_without_those_before_it(monkeypatch):
    planned = []

    def counting_best_fit(lengths, row_tokens, order):
        planned.append(len(order))
        return best_fit(lengths, row_tokens, order)

    best_fit = batches_module.best_fit
    monkeypatch.setattr(batches_module, "best_fit", counting_best_fit)
    [batches] = Recipe().ranks(many_examples(), 1, 4)
    assert len(planned) == 1  # epoch 0, for the number of rows
    late = list(batches.micro_batches(1_000_000))
    batches.micro_steps(1_000_000), batches.tokens(1_000_000), batches.squared_lengths(1_000_000)
    assert len(planned) == 2
    first = list(batches.micro_batches(1))
    assert len(planned) == 3
    # A run that came here step by step sees the same: nothing is remembered but the epoch.
    [resumed] = Recipe().ranks(many_examples(), 1, 4)
    assert all(map(same, resumed.micro_batches(1), first))
    assert all(map(same, resumed.micro_batches(1_000_000), late))


def test_micro_batches_may_be_drawn_while_another_epoch_is_asked_for():
    [batches] = Recipe().ranks(many_examples(), 1, 1)
    undisturbed = list(batches.micro_batches(0))
    drawn = batches.micro_batches(0)
    disturbed = [next(drawn)]
    batches.tokens(5 * batches.steps_per_epoch)
    assert all(map(same, [*disturbed, *drawn], undisturbed))


# Two rows of T = 16 by hand: examples 0 (10 tokens, 8 prompt) and 2 (6, 5) share one, example 1
# (9, 4) and 3 (7, 6) the other. Targets 2 + 1 and 5 + 1: 9 in all.
GOLDEN = small((10, 8), (9, 4), (6, 5), (7, 6))
GOLDEN_WEIGHTS = {
    "global_tokens": {0: 1 / 9, 1: 1 / 9, 2: 1 / 9, 3: 1 / 9},
    "micro_batch": {0: 1 / (3 * 2), 2: 1 / (3 * 2), 1: 1 / (6 * 2), 3: 1 / (6 * 2)},
    "example": {0: 1 / (2 * 4), 1: 1 / (5 * 4), 2: 1 / (1 * 4), 3: 1 / (1 * 4)},
}


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_window_written_by_hand(normalisation, world_size):
    recipe = Recipe(rows_per_step=2, normalisation=normalisation)
    ranks = recipe.ranks(GOLDEN, world_size, 1)
    assert ranks[0].steps_per_epoch == 1 and ranks[0].rows_per_epoch == 2
    assert ranks[0].micro_steps(0) == (2 if world_size == 1 else 1)
    assert (ranks[0].tokens(0), ranks[0].target_tokens(0)) == (32, 9)
    assert ranks[0].squared_lengths(0) == 100 + 81 + 36 + 49
    got = {batch.examples: batch for batch in whole_step(ranks, 0)}
    assert set(got) == {(0, 2), (1, 3)} | ({()} if world_size == 3 else set())

    row = got[0, 2]
    assert row.tokens.tolist() == [*range(10), *range(200, 206)]
    assert row.positions.tolist() == [*range(10), *range(6)]
    assert row.document_lengths == (10, 6)
    assert row.target_rows.tolist() == [7, 8, 14]
    assert row.targets.tolist() == [8, 9, 205]
    of = GOLDEN_WEIGHTS[normalisation]
    assert row.weights.tolist() == pytest.approx([of[0], of[0], of[2]])

    row = got[1, 3]
    assert row.document_lengths == (9, 7)
    assert row.target_rows.tolist() == [3, 4, 5, 6, 7, 14]
    assert row.targets.tolist() == [104, 105, 106, 107, 108, 306]
    assert row.weights.tolist() == pytest.approx([of[1]] * 5 + [of[3]])


def test_rows_go_round_the_ranks_one_micro_batch_at_a_time():
    examples = small(*[(ROW, 8)] * 11)  # one a row
    recipe = Recipe(rows_per_step=11)
    [alone] = recipe.ranks(examples, 1, 11)
    [whole] = alone.micro_batches(0)
    r = whole.examples
    ranks = recipe.ranks(examples, 2, 2)
    assert [batch.examples for batch in ranks[0].micro_batches(0)] == [r[0:2], r[4:6], r[8:10]]
    assert [batch.examples for batch in ranks[1].micro_batches(0)] == [r[2:4], r[6:8], r[10:]]
    assert [batch.examples for batch in recipe.rank(examples, 3, 4, 3).micro_batches(0)] == [r[9:]]
    assert [batch.examples for batch in recipe.rank(examples, 4, 5, 3).micro_batches(0)] == [()]


def test_micro_batches_and_examples_without_a_target_are_not_averaged_over():
    n_targets, micro_batch = np.array([2, 0, 3, 0]), np.array([0, 0, 1, 2])
    assert target_weights("micro_batch", n_targets, micro_batch)[[0, 2]].tolist() == [1 / 4, 1 / 6]
    assert target_weights("example", n_targets, micro_batch)[[0, 2]].tolist() == [1 / 4, 1 / 6]
    [batches] = Recipe().ranks(small((5, 5), (4, 4)), 1, 1)
    assert all(len(batch.weights) == 0 for batch in batches.micro_batches(0))


@pytest.mark.parametrize(
    ("n", "rows_per_step", "last_window", "epochs", "per_epoch", "total"),
    [
        (52_002, 64, "drop", 3, 812, 2_436),
        (52_002, 128, "drop", 3, 406, 1_218),
        (52_002, 128, "drop", 5, 406, 2_030),
        (48_818, 64, "keep", 3, 763, 2_289),
    ],
    ids=["release", "alpaca 7B", "alpaca 13B", "release in Chinese"],
)
def test_steps_of_the_published_recipes(n, rows_per_step, last_window, epochs, per_epoch, total):
    lengths = np.full(n, ROW)
    data = replace(DATA, batching="pad", last_window=last_window)
    batches = Recipe(data, rows_per_step).rank(SmallExamples(lengths, lengths // 2), 0, 16, 1)
    assert batches.steps_per_epoch == per_epoch and batches.steps_per_epoch * epochs == total
    last = n % rows_per_step if last_window == "keep" else rows_per_step
    assert batches.micro_steps(per_epoch - 1) == math.ceil(last / 16)


@given(
    lengths=st.lists(st.integers(2, ROW), min_size=1, max_size=30),
    rows_per_step=st.integers(1, 8),
    micro=st.integers(1, 4),
    world_size=st.integers(1, 3),
)
def test_no_micro_batch_of_single_examples_is_larger_than_the_first(
    lengths: list[int], rows_per_step: int, micro: int, world_size: int
) -> None:
    """Memory that is enough for the first step is enough for all; every epoch still has all."""
    examples = small(*((length, 1) for length in lengths))
    recipe = Recipe(replace(DATA, batching="pad"), rows_per_step)
    ranks = [recipe.rank(examples, rank, world_size, micro) for rank in range(world_size)]
    most = None
    for epoch in range(3):
        seen: Counter[int] = Counter()
        for step in range(epoch * ranks[0].steps_per_epoch, (epoch + 1) * ranks[0].steps_per_epoch):
            for batches in ranks:
                for batch in batches.micro_batches(step):
                    most = len(batch.tokens) if most is None else most
                    assert len(batch.tokens) <= most
                    seen.update(batch.examples)
        assert seen == Counter(range(examples.n))


@pytest.mark.parametrize(
    ("batching", "key"), [("pack", "batch.tokens_per_step"), ("pad", "batch.examples_per_step")]
)
def test_dropping_the_only_window_says_which_keys_to_change(batching, key):
    recipe = Recipe(replace(DATA, batching=batching, last_window="drop"), rows_per_step=9)
    with pytest.raises(InputError, match=rf"1 rows.*takes 9.*data\.last_window=keep.*{key}"):
        recipe.rank(small((5, 3)), 0, 1, 1)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="no example"):
        Recipe().rank(small(), 0, 1, 1)
    with pytest.raises(InputError, match=r"seed=-1"):
        Recipe(seed=-1).rank(small((5, 3)), 0, 1, 1)
