"""Which tasks are new, and which of them stand in a prompt."""

import json
from pathlib import Path

import pytest
from llama_gpt4_data.task_lists import Task
from llama_gpt4_data.task_pool import PoolTask, TaskPool, draw, read_seeds, require_seeds

from llama_gpt4.errors import InputError
from llama_gpt4.language import language_of
from llama_gpt4.rouge import mixed, rouge_l

from .instructing import demonstrations, filters


def pool(*instructions: str, language: str = "en") -> TaskPool:
    seeds = [PoolTask(str(n), Task(text, "", "x"), False) for n, text in enumerate(instructions)]
    return TaskPool(seeds, filters(language), 0.7)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_shipped_seeds(language: str) -> None:
    seeds = read_seeds(None, language)
    assert len(seeds) == 12 and len({seed.id for seed in seeds}) == 12
    assert all(language_of(seed.task.instruction) == language for seed in seeds)
    assert all(seed.task.output for seed in seeds)
    assert sum(seed.is_classification for seed in seeds) == 3
    fresh = TaskPool([], filters(language), 0.7)
    assert [fresh.admit(seed.task).rule for seed in seeds] == [None] * 12


def test_seeds_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    seed = {
        "id": "s",
        "name": "n",
        "instruction": "Sort.",
        "instances": [{"input": "b a", "output": "a b"}],
    }
    path.write_text(
        json.dumps(seed | {"is_classification": True}) + "\n" + json.dumps(seed | {"id": "t"})
    )
    first, second = read_seeds(str(path), "en")
    assert (first.id, first.task, first.is_classification) == (
        "s",
        Task("Sort.", "b a", "a b"),
        True,
    )
    assert not second.is_classification
    path.write_text(json.dumps(seed | {"is_classification": "yes"}))
    with pytest.raises(InputError, match="record 1: `is_classification` is neither true nor false"):
        read_seeds(str(path), "en")
    with pytest.raises(InputError, match="1 tasks are not enough for the 3 demonstrations"):
        require_seeds([first], demonstrations())


def test_a_new_task_knows_its_neighbours() -> None:
    tasks = pool("Name a river in Asia.", "Explain how bread is made.")
    admission = tasks.admit(Task("Explain why bread is good.", "", "x"))
    assert admission.rule is None
    assert list(admission.nearest) == ["Explain how bread is made.", "Name a river in Asia."]
    scores = list(admission.nearest.values())
    assert (
        scores[0]
        == rouge_l(mixed("Explain how bread is made."), mixed("Explain why bread is good.")).f
    )
    assert admission.average == pytest.approx(sum(scores) / 2)
    assert [task.task.instruction for task in tasks.machine] == ["Explain why bread is good."]


def test_what_is_too_similar_to_a_seed_or_an_accepted_task_is_dropped() -> None:
    tasks = pool("Name a river in Asia.")
    assert tasks.admit(Task("Name one river in Asia.", "", "x")).rule == "similar"
    assert tasks.admit(Task("Tell me how tea is grown.", "", "x")).rule is None
    again = tasks.admit(Task("Tell me how tea is grown!", "", "x"))
    assert again.rule == "similar" and again.nearest == {"Tell me how tea is grown.": 1.0}
    assert len(tasks.machine) == 1


def test_chinese_is_compared_by_the_character() -> None:
    tasks = pool("请介绍黄河的历史。", language="zh")
    assert tasks.admit(Task("请介绍一下黄河的历史。", "", "x")).rule == "similar"
    assert tasks.admit(Task("写一首关于秋天的诗。", "", "x")).rule is None


def test_filters_come_first() -> None:
    tasks = pool("Describe the image.")
    assert tasks.admit(Task("Describe the image.", "", "x")).rule == "too_short"
    assert tasks.admit(Task("Describe the image to me.", "", "x")).rule == "keyword"


MANY = [
    f"{verb} {thing} for {who}."
    for verb in ("Explain", "List", "Rhyme")
    for thing in ("the tides", "old bridges", "a quarrel")
    for who in ("a child", "two readers")
]


def test_seed_and_round_decide_the_draw() -> None:
    drawn = draw(pool(*MANY), demonstrations(), 4, 5)
    assert drawn == draw(pool(*MANY), demonstrations(), 4, 5)
    assert drawn != draw(pool(*MANY), demonstrations(), 5, 5)
    assert drawn != draw(pool(*MANY), demonstrations(seed=1), 4, 5)
    assert all(len({task.id for task in prompt}) == 3 for prompt in drawn)


def test_seeds_stand_in_for_machine_tasks_that_are_not_there_yet() -> None:
    tasks = pool(*MANY)
    wanted = demonstrations(seeds=2, machine=2)
    assert all(t in tasks.seeds for prompt in draw(tasks, wanted, 0, 4) for t in prompt)
    for text in ("What do owls eat at night?", "Plan a day without any screens.", "Define irony."):
        tasks.admit(Task(text, "", "x"))
    for prompt in draw(tasks, wanted, 1, 4):
        assert [len(prompt), sum(task in tasks.machine for task in prompt)] == [4, 2]


def mean_similarity(drawn: list[list[PoolTask]]) -> float:
    scores = [
        rouge_l(mixed(a.task.instruction), mixed(b.task.instruction)).f
        for prompt in drawn
        for a in prompt
        for b in prompt
        if a is not b
    ]
    return sum(scores) / len(scores)


def test_diverse_demonstrations_are_less_alike_than_random_ones() -> None:
    diverse, chance = (
        mean_similarity(draw(pool(*MANY), demonstrations(choice=choice), 0, 40))
        for choice in ("diverse", "random")
    )
    assert diverse < 0.7 * chance
