"""Rounds of prompts: the same each time, stopped where they should be, adding up."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.instruct_rounds import Growth, Round, grow, round_items
from llama_gpt4_data.task_pool import TaskPool, read_seeds

from .endpoints import reply
from .instructing import Asked, config, demonstrations, filters, rounds

SEEDS = read_seeds(None, "en")


def grown(ask: Asked, failures: dict[str, str] | None = None, **values: Any) -> Growth:
    """What there is after the last round."""
    *_, last = grow(config(**values), SEEDS, failures or {}, ask)
    return last


def instructions(growth: Growth) -> list[str]:
    return [task.task.instruction for task in growth.pool.machine]


def test_a_round_accepts_and_drops_everything_that_was_read(tmp_path: Path) -> None:
    growth = grown(Asked(tmp_path))
    assert growth.ended == "rounds" and len(growth.rounds) == 3
    for told in growth.rounds:
        assert told.prompts == 2 and not told.failures
        assert told.tasks == 18 == told.accepted + sum(told.dropped.values())
        assert told.nearest is None or 0 < told.nearest <= 0.7
    assert len(growth.offered) == 54
    assert len(growth.accepted) == len(growth.pool.machine)
    dropped = {offered.admission.rule for offered in growth.offered} - {None}
    assert dropped == {"similar", "keyword", "no_output"}


def test_the_same_line_asks_nothing_and_comes_to_the_same(tmp_path: Path) -> None:
    wanted = {"demonstrations": demonstrations(seeds=1, machine=2, choice="diverse")}
    first = grown(Asked(tmp_path), **wanted)
    again = Asked(tmp_path)
    assert instructions(grown(again, **wanted)) == instructions(first)
    assert again.prompts == []


@pytest.mark.parametrize("most", [0, 1, 3, 4])
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, most: int) -> None:
    wanted = {"demonstrations": demonstrations(seeds=1, machine=2)}
    whole = Asked(tmp_path / "whole")
    expected = instructions(grown(whole, **wanted))
    ask = Asked(tmp_path / "stopped")
    ask.most = most
    stopped = grown(ask, **wanted)
    assert stopped.ended == "stopped" and stopped.n_open == 2 - most % 2
    assert len(stopped.rounds) == most // 2
    ask.most = 1000
    assert instructions(grown(ask, **wanted)) == expected
    assert ask.prompts == whole.prompts, "each once, and in the same order"


def test_later_rounds_see_what_earlier_ones_brought(tmp_path: Path) -> None:
    ask = Asked(tmp_path)
    growth = grown(ask, demonstrations=demonstrations(seeds=1, machine=2))
    born = {
        task.id: offered.item.round
        for task, offered in zip(growth.pool.machine, growth.accepted, strict=True)
    }
    for item in growth.items:
        machine = [shown.id for shown in item.demonstrations if shown.id in born]
        assert len(machine) == (2 if item.round else 0)
        assert all(born[id] < item.round for id in machine)


def test_a_failed_prompt_stays_failed_so_that_later_rounds_stay_the_same(tmp_path: Path) -> None:
    wanted = {"demonstrations": demonstrations(seeds=2, machine=1)}
    before, ask = Asked(tmp_path / "before"), Asked(tmp_path / "failing")
    grown(before, **wanted)
    ask.failing = {before.prompts[1]}
    growth = grown(ask, **wanted)
    failures = growth.rounds[0].failures
    assert list(failures.values()) == ["400: no"]
    assert growth.rounds[0].tasks == 9 and len(growth.items) == 5

    ask.failing.clear()
    ask.prompts.clear()
    again = grown(ask, failures, **wanted)
    assert ask.prompts == [] and instructions(again) == instructions(growth)
    assert again.rounds[0].failures == failures


def test_it_ends_when_there_are_enough(tmp_path: Path) -> None:
    growth = grown(Asked(tmp_path), count=5)
    assert growth.ended == "count" and len(growth.rounds) == 1
    assert len(growth.accepted) >= 5, "what was paid for is kept"


def test_it_ends_when_novelty_dries_up(tmp_path: Path) -> None:
    growth = grown(Asked(tmp_path), rounds=rounds(most=50, least_new_frac=0.3))
    assert growth.ended == "dry"
    *wet, last = growth.rounds
    assert all(told.accepted > 0.3 * told.tasks for told in wet)
    assert last.accepted <= 0.3 * last.tasks
    assert Round(number=0, prompts=1, failures={}).is_dry(0.0), "nothing at all"


def test_the_same_prompt_again_is_another_request() -> None:
    wanted = config(rounds=rounds(prompts=30), demonstrations=demonstrations(seeds=1))
    items = round_items(TaskPool(SEEDS, filters(), 0.7), wanted, 0, Counter())
    prompts = {item.request([]).body["messages"][0]["content"] for item in items}  # type: ignore[union-attr]
    assert len(prompts) <= 12 and len({item.key for item in items}) == 30


def test_a_cut_list_loses_its_last_task() -> None:
    [item] = round_items(
        TaskPool(SEEDS, filters(), 0.7), config(rounds=rounds(prompts=1)), 0, Counter()
    )
    asked = item.request([])
    assert asked is not None and item.request([reply(asked)]) is None
    text = " Add.\n4. Input:\n1\n4. Output:\n2\n###\n5. Instruction: Say.\n5. Input:\n1\n5. Output:"
    assert len(item.read(reply(asked, text)).tasks) == 2
    cut = item.read(reply(asked, text, finish_reason="length"))
    assert len(cut.tasks) == 1 and cut.n_cut == 1
