"""What to change: to fit at all, and to be faster."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llama_gpt4_launch.plan_case import GIB, Case
from llama_gpt4_launch.plan_memory import fits, memory
from llama_gpt4_launch.plan_time import tokens_per_second

MOST_NODES = 1024
WORTH_A_CHANGE = 1.03
"""A configuration is recommended over the one at hand if it is at least this much faster."""


@dataclass(frozen=True)
class Layout:
    """A way to shard, and the override that chooses it."""

    override: str
    case: Case


def layouts(case: Case) -> list[Layout]:
    """The ways to shard that are open to this precision and these nodes."""
    plain: dict[str, Any] = {
        "hpz_processes": 1,
        "offload_optimizer": False,
        "offload_parameters": False,
        "deepspeed": {},  # settings of the user's own may belong to another stage
    }
    hardware = case.hardware
    lowest = 0 if case.config.precision.dtype == "float32" else 1
    found = [
        Layout(f"zero=stage{stage}", case.with_zero(**plain | {"stage": stage}))
        for stage in range(lowest, 4)
    ]
    if hardware.nodes > 1 and hardware.gpus_per_node > 1:
        per_host = hardware.gpus_per_node
        override = "zero=hpz" if per_host == 8 else f"zero=hpz zero.hpz_processes={per_host}"
        changes = plain | {"stage": 3, "hpz_processes": per_host}
        found.append(Layout(override, case.with_zero(**changes)))
    offloaded = {"stage": 3, "offload_optimizer": True, "offload_parameters": True}
    return [*found, Layout("zero=offload", case.with_zero(**plain | offloaded))]


def fastest(case: Case) -> Layout | None:
    """The fastest way to shard that fits, all else being equal."""
    fitting = [layout for layout in layouts(case) if fits(layout.case)]
    return max(fitting, key=lambda layout: tokens_per_second(layout.case), default=None)


def is_same_zero(one: Case, other: Case) -> bool:
    """Whether both shard alike, whatever the user's own DeepSpeed settings."""
    return one.with_zero(deepspeed={}).config.zero == other.with_zero(deepspeed={}).config.zero


def levers(case: Case) -> list[str]:
    """Single changes after which the case fits; else all of them at once, else more nodes."""
    found = [
        f"{override} ({memory(changed).total / GIB:.1f} GiB)"
        for override, changed in _single_changes(case)
        if fits(changed)
    ]
    if found:
        return found
    smallest = _smallest(case)
    if fits(smallest):
        return [f"{_SMALLEST} ({memory(smallest).total / GIB:.1f} GiB)"]
    nodes = 2 * case.hardware.nodes
    while nodes <= MOST_NODES:
        if fits(case.on_nodes(nodes)):
            return [f"plan.nodes={nodes}"]
        if fits(smallest.on_nodes(nodes)):
            return [f"plan.nodes={nodes} with {_SMALLEST}"]
        nodes *= 2
    return []


_SMALLEST = "zero=offload model.recompute=full batch.rows_per_micro_step=1"


def _smallest(case: Case) -> Case:
    return layouts(case)[-1].case.with_recompute("full").with_rows(1)


def _single_changes(case: Case) -> Iterator[tuple[str, Case]]:
    policies = ("none", "lean", "attention", "full")
    now = policies.index(case.config.model.recompute)
    for policy in policies[now + 1 :]:
        changed = case.with_recompute(policy)
        yield f"model.recompute={policy}", changed
        if fits(changed):
            break
    rows = case.config.batch.rows_per_micro_step // 2
    while rows:
        changed = case.with_rows(rows)
        yield f"batch.rows_per_micro_step={rows}", changed
        if fits(changed):
            break
        rows //= 2
    for layout in layouts(case):
        if not is_same_zero(layout.case, case):
            yield layout.override, layout.case


def recommended(case: Case, same_loss: bool = True) -> tuple[str, Case] | None:
    """The overrides of the fastest configuration that fits; None where `case` is as good.

    With `same_loss` the micro-batch stays where the loss depends on it, which it does with
    `loss.normalisation=micro_batch`.
    """
    best: tuple[float, str, Case] | None = None
    for override, changed in _candidates(case, same_loss):
        speed = tokens_per_second(changed)
        if fits(changed) and (best is None or speed > best[0] * 1.0001):
            best = (speed, override, changed)
    if best is None:
        return None
    if fits(case) and best[0] < WORTH_A_CHANGE * tokens_per_second(case):
        return None
    return best[1], best[2]


def _candidates(case: Case, same_loss: bool) -> Iterator[tuple[str, Case]]:
    """Every mix of sharding, recomputing and micro-batch, the least change first."""
    config = case.config
    all_rows = [config.batch.rows_per_micro_step]
    if not same_loss or config.loss.normalisation != "micro_batch":
        most = -(-config.rows_per_step // case.hardware.world_size)
        # The largest first: of two that are as fast, the one with fewer micro-steps is taken.
        all_rows += [most, *(2**k for k in reversed(range(most.bit_length())))]
    policies = [config.model.recompute, "lean", "attention", "full"]
    for layout in sorted(layouts(case), key=lambda layout: not is_same_zero(layout.case, case)):
        for policy in dict.fromkeys(policies):
            for rows in dict.fromkeys(all_rows):
                changed = layout.case.with_recompute(policy).with_rows(rows)
                parts = [
                    "" if is_same_zero(layout.case, case) else layout.override,
                    "" if policy == config.model.recompute else f"model.recompute={policy}",
                    ""
                    if rows == config.batch.rows_per_micro_step
                    else f"batch.rows_per_micro_step={rows}",
                ]
                yield " ".join(filter(None, parts)), changed
