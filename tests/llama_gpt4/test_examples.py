"""Prepared data with `data.weights`: which examples an epoch has, on one cache for all weights."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llama_gpt4.batches import Batches
from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import Examples, Prepared, report_lines
from llama_gpt4.prepare import prepare

BOTH = {"data.files": ["sample:en", "sample:zh"]}


@pytest.fixture
def plain(config_for) -> TrainConfig:
    return config_for(**BOTH)


def weighted(config: TrainConfig, *weights: float) -> TrainConfig:
    return replace(config, data=replace(config.data, weights=[*weights]))


def names(examples: Examples) -> Counter[str]:
    return Counter(examples.record_name(i) for i in range(examples.n))


def files_in_cache(config: TrainConfig) -> dict[str, tuple[int, bytes]]:
    files = [path for path in Path(config.data.cache_dir).rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_all_weights_share_one_cache(plain) -> None:
    first = prepare(weighted(plain, 1, 2))
    before = files_in_cache(plain)
    for config in (plain, weighted(plain, 0.5, 3)):
        assert prepare(config).folder == first.folder
    assert files_in_cache(plain) == before


def test_an_example_that_stands_there_again_is_the_same_on_the_same_tokens(plain) -> None:
    once, train = prepare(plain).train, prepare(weighted(plain, 2, 0.5)).train
    n_en = int((once.file_of == 0).sum())
    number = {once.record_name(i): i for i in range(once.n)}
    for i in range(train.n):
        j = number[train.record_name(i)]
        assert np.array_equal(train.tokens_of(i), once.tokens_of(j))
        assert train.prompt_lengths[i] == once.prompt_lengths[j]
        ours, same = (
            part.answers_of(np.array([k])) for part, k in ((train.targets, i), (once.targets, j))
        )
        assert [x.tolist() for x in ours] == [x.tolist() for x in same]
    assert np.shares_memory(train.tokens_of(0), train.tokens_of(1))
    assert train.n == 2 * n_en + round(0.5 * (once.n - n_en))


def epoch_of(config: TrainConfig, prepared: Prepared, epoch: int, world_size: int) -> list[list]:
    """Names of the examples of each step of an epoch, over all ranks."""
    ranks = [
        Batches(
            prepared.train,
            config.data,
            rows_per_step=config.rows_per_step,
            rows_per_micro_step=1,
            normalisation=config.loss.normalisation,
            seed=config.seed,
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    n = ranks[0].steps_per_epoch
    return [
        sorted(
            prepared.train.record_name(i)
            for batches in ranks
            for batch in batches.micro_batches(step)
            for i in batch.examples
        )
        for step in range(epoch * n, (epoch + 1) * n)
    ]


@pytest.mark.parametrize("batching", ["pack", "pad"])
def test_every_epoch_has_each_example_as_often_as_weighed_on_any_ranks(
    config_for, batching
) -> None:
    config = weighted(config_for(**BOTH, **{"data.batching": batching}), 2, 0.5)
    prepared = prepare(config)
    epochs = [epoch_of(config, prepared, epoch, 1) for epoch in range(2)]
    assert epochs[1] == epoch_of(config, prepare(config), 1, 3)
    assert epochs[0] != epochs[1]
    assert len(epochs[0]) == len(epochs[1])
    for epoch in epochs:
        seen = Counter(name for step in epoch for name in step)
        assert seen == names(prepared.train)
        english = {name for name in seen if name.startswith("sample:en")}
        assert english == {n for n in names(prepare(weighted(config)).train) if "sample:en" in n}
        assert {seen[name] for name in english} == {2}
        assert {seen[name] for name in seen if name not in english} == {1}


def test_validation_is_not_weighted(config_for) -> None:
    config = config_for(**BOTH, **{"data.validation.share": 0.2})
    once, three = prepare(config), prepare(weighted(config, 3, 3))
    assert once.validation is not None and three.validation is not None
    assert names(three.validation) == names(once.validation)
    assert names(three.train) == Counter({name: 3 for name in names(once.train)})
    assert "epoch" not in three.report["validation"]


def test_the_fingerprint_is_of_the_examples_of_an_epoch(plain) -> None:
    fingerprints = [
        prepare(config).fingerprint
        for config in (
            plain,
            weighted(plain, 1, 2),
            weighted(plain, 2, 1),
            weighted(plain, 1, 0.5),
            replace(weighted(plain, 1, 0.5), seed=1),
        )
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    assert prepare(weighted(plain, 1, 1)).fingerprint == fingerprints[0]
    assert prepare(replace(weighted(plain, 1, 2), seed=1)).fingerprint == fingerprints[1]


def test_the_weights_are_told_in_words(plain) -> None:
    prepared = prepare(weighted(plain, 1, 1.5))
    used = [source["used"] for source in prepared.report["train"]["sources"]]
    more = round(1.5 * used[1])
    line = next(line for line in report_lines(prepared) if "data.weights" in line)
    assert line.startswith(
        f"train: by data.weights an epoch has {used[0] + more} examples: "
        f"{used[0]} of sample:en (1 x {used[0]}), {more} of sample:zh (1.5 x {used[1]}); "
    )
    assert not any("data.weights" in line for line in report_lines(prepare(plain)))


def test_a_weight_that_leaves_nothing_is_an_error(plain) -> None:
    with pytest.raises(
        InputError, match=r"data\.weights\[1\]=0\.001 of the \d+ examples of sample:zh"
    ):
        prepare(weighted(plain, 1, 0.001))
