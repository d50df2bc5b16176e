"""What trials run on: slots, each room for a process, of this host or of those of a hostfile."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from llama_gpt4.errors import InputError
from llama_gpt4_launch.hostfile import Host
from llama_gpt4_launch.local import visible_gpus


@dataclass(frozen=True)
class Slot:
    host: Host | None
    """None: this one."""
    device: str | None
    """A GPU as CUDA_VISIBLE_DEVICES names it; None: a core."""


def slots_here(wanted: int | None, use_gpus: bool) -> list[Slot]:
    """Every GPU of this host, or without GPUs every core, unless `wanted` says how many."""
    gpus = visible_gpus() if use_gpus else []
    if not gpus:
        return [Slot(None, None)] * (wanted or len(os.sched_getaffinity(0)))
    if wanted is not None and wanted > len(gpus):
        raise InputError(
            f"sweep.devices={wanted}, but this host shows {len(gpus)} GPUs: take as many as there "
            "are, or train without by launch.device=cpu"
        )
    return [Slot(None, gpu) for gpu in gpus[:wanted]]


def slots_of(hosts: Sequence[Host]) -> list[Slot]:
    return [Slot(host, str(number)) for host in hosts for number in range(host.slots)]


def hosts_of(slots: Sequence[Slot]) -> list[Host]:
    """The other hosts that these slots are on."""
    return list(dict.fromkeys(slot.host for slot in slots if slot.host is not None))


def take(free: Sequence[Slot], n: int) -> list[Slot]:
    """`n` of the free slots: of one host, the fullest that has room, or else of several hosts,
    which a trial takes as a whole; none where there is no such room."""
    by_host: dict[Host | None, list[Slot]] = {}
    for slot in free:
        by_host.setdefault(slot.host, []).append(slot)
    roomy = [slots for slots in by_host.values() if len(slots) >= n]
    if roomy:
        return min(roomy, key=len)[:n]
    taken: list[Slot] = []
    for host, slots in by_host.items():
        is_whole = host is not None and len(slots) == host.slots
        if is_whole and len(taken) + len(slots) <= n:
            taken += slots
    return taken if len(taken) == n else []
