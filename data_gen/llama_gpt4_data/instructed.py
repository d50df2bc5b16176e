"""What rounds of new instructions come to: records, dropped tasks, and counts that add up."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.generate import Generated
from llama_gpt4_data.instances import InstanceItem
from llama_gpt4_data.instruct_rounds import Growth, Offered, Round
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.task import Counted, call
from llama_gpt4_data.worker import replies_to

ENDS = {
    "count": "there are as many as were wanted",
    "dry": "the last round brought little that is new",
    "rounds": "there were as many rounds as may be",
    "stopped": "it was stopped",
}


def count_tasks(growth: Growth, teacher: EndpointConfig) -> Counted:
    """The accepted tasks as records, and those that were dropped, by rule."""
    counted = Counted(n_open=growth.n_open)
    accepted = growth.accepted
    for task, offered in zip(growth.pool.machine, accepted, strict=True):
        counted.records.append(_record(task.id, offered, teacher))
    for offered in growth.offered:
        rule = offered.admission.rule
        if rule is not None:
            counted.reasons[rule] += 1
            counted.failed.append(_dropped(offered))
    counted.details = _details(growth)
    counted.notes = _notes(counted.details)
    return counted


def count_instances(
    growth: Growth,
    items: Sequence[InstanceItem],
    generated: Generated,
    journal: Journal,
    teacher: EndpointConfig,
) -> Counted:
    """The same with a record for each input and output of an accepted instruction."""
    counted = count_tasks(growth, teacher)
    bare, counted.records = counted.records, []
    states: Counter[str] = Counter()
    for place, (item, record) in enumerate(zip(items, bare, strict=True), len(growth.items)):
        replies, request = replies_to(item, journal)
        if request is not None and place not in generated.failures:
            states["open"] += 1
            continue
        found = item.records(replies) if request is None else []
        if not found:
            reason = generated.failures.get(place, "no_instance")
            counted.reasons[reason] += 1
            counted.failed.append({"instruction": record["instruction"], "failure": reason})
        states["with_instances" if found else "failed"] += 1
        for number, instance in enumerate(found):
            id = f"{record['id']}-{number}" if number else record["id"]
            told = {"instances": call(item, replies, teacher)}
            origin = record["provenance"] | told
            counted.records.append({**record, **instance, "id": id, "provenance": origin})
    counted.n_open += states["open"]
    names = ("with_instances", "failed", "open")
    counted.details["instructions"] = {name: states[name] for name in names}
    counted.notes.append(
        f"{len(bare)} instructions: {states['with_instances']} with instances, "
        f"{states['failed']} without, {states['open']} not asked yet"
    )
    return counted


def round_json(told: Round) -> dict[str, Any]:
    """A line of rounds.jsonl."""
    return {
        "round": told.number,
        "prompts": told.prompts,
        "replied": told.prompts - len(told.failures),
        "failed": len(told.failures),
        "tasks": told.tasks,
        "accepted": told.accepted,
        "dropped": dict(sorted(told.dropped.items())),
        "unreadable": told.unreadable,
        "cut": told.cut,
        "mean_similarity": told.nearest,
        "failures": told.failures,
    }


def round_line(told: Round, n_accepted: int, count: int) -> str:
    """What a user sees of a round when it has ended."""
    dropped = "".join(f", {n} {rule}" for rule, n in sorted(told.dropped.items()))
    lost = f", {told.unreadable} unreadable, {told.cut} cut" if told.unreadable + told.cut else ""
    failed = f", {len(told.failures)} failed" if told.failures else ""
    near = "" if told.nearest is None else f"; similarity to the nearest {told.nearest:.2f}"
    return (
        f"round {told.number}: {told.prompts} prompts{failed}; {told.tasks} tasks{lost}: "
        f"{told.accepted} new{dropped}{near}; {n_accepted} of {count}"
    )


def _record(id: str, offered: Offered, teacher: EndpointConfig) -> dict[str, Any]:
    return {
        "id": id,
        "instruction": offered.task.instruction,
        "input": offered.task.input,
        "output": offered.task.output,
        "most_similar_instructions": offered.admission.nearest,
        "avg_similarity_score": offered.admission.average,
        "provenance": {
            "task": "instruct",
            "derived_from": {
                "round": offered.item.round,
                "demonstrations": [shown.id for shown in offered.item.demonstrations],
            },
            "findings": [],
            **call(offered.item, [offered.reply], teacher),
            "licence": teacher.licence,
        },
    }


def _dropped(offered: Offered) -> dict[str, Any]:
    return {
        "instruction": offered.task.instruction,
        "input": offered.task.input,
        "output": offered.task.output,
        "failure": offered.admission.rule,
        "similar_to": offered.admission.nearest,
    }


def _details(growth: Growth) -> dict[str, Any]:
    rounds = growth.rounds
    prompts, failed = sum(r.prompts for r in rounds), sum(len(r.failures) for r in rounds)
    dropped: Counter[str] = Counter()
    for told in rounds:
        dropped.update(told.dropped)
    return {
        "ended": growth.ended,
        "prompts": {"replied": prompts - failed, "failed": failed, "open": growth.n_open},
        "tasks": {
            "read": sum(told.tasks for told in rounds),
            "accepted": len(growth.pool.machine),
            "dropped": dict(dropped.most_common()),
            "unreadable": sum(told.unreadable for told in rounds),
            "cut": sum(told.cut for told in rounds),
        },
        "rounds": [round_json(told) for told in rounds],
    }


def _notes(details: dict[str, Any]) -> list[str]:
    prompts, tasks = details["prompts"], details["tasks"]
    lines = [
        f"{sum(prompts.values())} prompts in {len(details['rounds'])} rounds: "
        f"{prompts['replied']} replied, {prompts['failed']} failed, {prompts['open']} not asked "
        "yet",
        f"{tasks['read']} tasks read: {tasks['accepted']} new, "
        f"{sum(tasks['dropped'].values())} dropped; {tasks['unreadable']} were unreadable, "
        f"{tasks['cut']} cut",
    ]
    if details["ended"]:
        lines.append(f"no more rounds: {ENDS[details['ended']]}")
    return lines
