"""How slots are handed out."""

import os

import pytest
from llama_gpt4_launch.hostfile import Host
from llama_gpt4_launch.sweep_slots import Slot, hosts_of, slots_here, slots_of, take

from llama_gpt4.errors import InputError

SMALL, BIG, OTHER = Host("a", 2), Host("b", 4), Host("c", 2)


def test_here_they_are_the_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-b,5")
    assert slots_here(None, use_gpus=True) == [Slot(None, name) for name in ("2", "GPU-b", "5")]
    assert slots_here(2, use_gpus=True) == [Slot(None, "2"), Slot(None, "GPU-b")]
    assert slots_here(2, use_gpus=False) == [Slot(None, None)] * 2
    with pytest.raises(InputError, match=r"sweep\.devices=4, but this host shows 3 GPUs"):
        slots_here(4, use_gpus=True)


def test_without_gpus_they_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert len(slots_here(None, use_gpus=True)) == len(os.sched_getaffinity(0))


def test_on_other_hosts_they_are_the_first_gpus_of_each() -> None:
    slots = slots_of([SMALL, OTHER])
    assert slots == [Slot(SMALL, "0"), Slot(SMALL, "1"), Slot(OTHER, "0"), Slot(OTHER, "1")]
    assert hosts_of(slots) == [SMALL, OTHER]
    assert hosts_of([Slot(None, "0")]) == []


def shares(n: int, *hosts: Host, without: int = 0) -> dict[str, int]:
    """How many slots `n` processes take on each host, the first `without` slots not being free."""
    names = [slot.host.name for slot in take(slots_of(hosts)[without:], n) if slot.host]
    return {name: names.count(name) for name in names}


@pytest.mark.parametrize(
    "n, expected",
    [
        (1, {"a": 1}),  # the big host stays whole for those that need it
        (2, {"a": 2}),
        (3, {"b": 3}),
        (4, {"b": 4}),
        (6, {"a": 2, "b": 4}),  # whole hosts
        (8, {"a": 2, "b": 4, "c": 2}),
        (7, {}),
        (9, {}),
    ],
)
def test_one_host_where_it_has_room_or_whole_ones(n: int, expected: dict[str, int]) -> None:
    assert shares(n, SMALL, BIG, OTHER) == expected


def test_a_host_in_use_is_not_whole() -> None:
    assert shares(6, SMALL, BIG, without=1) == {}
    assert shares(1, SMALL, BIG, without=1) == {"a": 1}


def test_trials_of_this_host_take_any_slots() -> None:
    free = [Slot(None, name) for name in ("4", "5", "6")]
    assert take(free, 2) == free[:2]
    assert take(free, 4) == []
