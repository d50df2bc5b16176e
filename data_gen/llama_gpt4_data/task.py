"""What all tasks do alike: ask for what is missing, make records of it, say what became of each."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from llama_gpt4.errors import InputError, Preempted
from llama_gpt4.files import write_array, write_json, write_jsonl, written_aside
from llama_gpt4.program import hold
from llama_gpt4_data.arrow import write_arrow
from llama_gpt4_data.card import About, card
from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.generate import Generated, generate
from llama_gpt4_data.generation_config import AskingConfig, PricesConfig, RunConfig
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.ledger import OUT_OF_BUDGET
from llama_gpt4_data.requests import Reply
from llama_gpt4_data.sources import Source
from llama_gpt4_data.worker import Item, replies_to

OUTPUTS = ("data.json", "data.jsonl", "failed.jsonl", "judgements.jsonl", "rounds.jsonl")
"""Files of records that tasks write in their `run.output_dir`."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What an item's replies come to: a record, or a failure."""

    record: dict[str, Any] | None = None
    failure: str | None = None
    findings: list[str] = field(default_factory=list)
    """What was found wrong, whether it was kept or not."""


class TaskItem(Item, Protocol):
    """An item whose replies make one record of a data set."""

    @property
    def source(self) -> Source: ...

    def made(self, replies: Sequence[Reply]) -> Made: ...


@dataclass
class Counted:
    """The items of a run by what became of them; they add up."""

    records: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    """The source's own record with the reason, so that the file can be asked again."""
    n_open: int = 0
    """Not asked yet, when the run stopped early."""
    reasons: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    details: dict[str, Any] = field(default_factory=dict)
    """What the report of this task says beside what all say."""
    notes: list[str] = field(default_factory=list)
    """Lines of the summary that only this task has."""


@dataclass(frozen=True)
class Ended:
    """An item at the end of a run."""

    item: TaskItem
    replies: list[Reply]
    made: Made | None
    """None: it was not asked to the end before the run stopped."""


def run_task(
    about: About,
    items: Sequence[TaskItem],
    run: RunConfig,
    endpoint: EndpointConfig,
    prices: PricesConfig,
) -> None:
    """Make the data set of `items` in `run.output_dir`; the same call goes on where it stopped."""
    output_dir = Path(run.output_dir)
    require_apart([item.source.file for item in items], output_dir)
    lock = hold(output_dir, key="run.output_dir")
    generated, journal = generate(items, run, endpoint, prices, task=about.task)
    counted = count(about.task, items, generated, journal, endpoint)
    nothing_came = not (counted.records or counted.failed or generated.lost_usd)
    if nothing_came and (output_dir / "report.json").exists():
        # A wrong model, key or address: the data set that is there stays as it is.
        raise_trouble(generated, counted, run)
    write(about, run, counted, generated, endpoint)
    os.close(lock)
    print(summary(counted, generated, output_dir), flush=True)
    raise_trouble(generated, counted, run)


def require_apart(
    files: Iterable[str],
    output_dir: Path,
    outputs: Sequence[str] = OUTPUTS,
    key: str = "run.output_dir",
) -> None:
    """Refuse to write `outputs` in the place of the files that they are made from; `key` is what
    the user calls the folder."""
    for file in dict.fromkeys(files):
        path = Path(file)
        if path.name in outputs and path.resolve().parent == output_dir.resolve():
            raise InputError(
                f"{key}={output_dir} is where {file} is, which the run would overwrite: choose "
                f"another {key}"
            )


def count(
    task: str,
    items: Sequence[TaskItem],
    generated: Generated,
    journal: Journal,
    endpoint: EndpointConfig,
) -> Counted:
    """Make the record of each item that has its replies."""
    counted = Counted()
    for ended in ended_items(items, generated, journal):
        item, made = ended.item, ended.made
        if made is None:
            counted.n_open += 1
            continue
        counted.findings.update(made.findings)
        if made.record is not None:
            origin = provenance(task, item, ended.replies, made, endpoint)
            counted.records.append({**made.record, "provenance": origin})
        else:
            reason = made.failure or "failed"
            counted.reasons[reason] += 1
            counted.failed.append({**item.source.value, "failure": reason})
    return counted


def ended_items(
    items: Sequence[TaskItem], generated: Generated, journal: Journal
) -> Iterator[Ended]:
    """Each of `items` with its replies and what they come to."""
    for place, item in enumerate(items):
        replies, request = replies_to(item, journal)
        if request is None:
            yield Ended(item, replies, item.made(replies))
        elif place in generated.failures:
            yield Ended(item, replies, Made(failure=generated.failures[place]))
        else:
            yield Ended(item, replies, None)


def provenance(
    task: str, item: TaskItem, replies: Sequence[Reply], made: Made, endpoint: EndpointConfig
) -> dict[str, Any]:
    """Who made a record, from what and how."""
    origin = {"task": task, "derived_from": item.source.origin, "findings": made.findings}
    return origin | (call(item, replies, endpoint) if replies else {})


def call(item: Item, replies: Sequence[Reply], endpoint: EndpointConfig) -> dict[str, Any]:
    """Who gave `replies`, to what and at what expense."""
    last = replies[-1]
    request = item.request(replies[:-1])
    assert request is not None
    return {
        "model": last.model,
        "endpoint": endpoint.address,
        "parameters": {
            key: value for key, value in request.body.items() if key not in ("model", "messages")
        },
        "prompt_sha256": request.prompt_hash,
        "finish_reason": last.finish_reason,
        "time": last.time,
        "requests": [reply.key for reply in replies],
        "prompt_tokens": _sum(reply.prompt_tokens for reply in replies),
        "completion_tokens": _sum(reply.completion_tokens for reply in replies),
        "licence": endpoint.licence,
    }


def write(
    about: About, run: RunConfig, counted: Counted, generated: Generated, endpoint: EndpointConfig
) -> None:
    """`data.json` as Alpaca writes it, `data.jsonl` with all that is known, what failed, counts,
    and the card that says under what licence and terms all this is."""
    output_dir, counts = Path(run.output_dir), report(about.task, counted, generated, endpoint)
    plain = (
        {key: value for key, value in record.items() if key not in ("id", "provenance")}
        for record in counted.records
    )
    write_array(output_dir / "data.json", plain)
    write_jsonl(output_dir / "data.jsonl", counted.records)
    write_jsonl(output_dir / "failed.jsonl", counted.failed)
    write_json(output_dir / "report.json", counts)
    with written_aside(output_dir / "README.md") as file:
        file.write(card(about, endpoint, run.source_licence, counted.records, counts))
    if run.arrow:
        write_arrow(output_dir / "arrow", counted.records)


def report(
    task: str, counted: Counted, generated: Generated, endpoint: EndpointConfig
) -> dict[str, Any]:
    """`report.json`: what became of the items, by reason, and what that cost in US dollars."""
    return {
        "task": task,
        "model": endpoint.model,
        "endpoint": endpoint.address,
        "items": len(counted.records) + len(counted.failed) + counted.n_open,
        "records": len(counted.records),
        "failed": len(counted.failed),
        "open": counted.n_open,
        "failures": dict(counted.reasons.most_common()),
        "findings": dict(counted.findings.most_common()),
        "retries": dict(generated.retries.most_common()),
        "spent_usd": generated.spent_usd,
        "lost_usd_at_most": generated.lost_usd,
        **counted.details,
    }


def summary(counted: Counted, generated: Generated, output_dir: Path) -> str:
    """What became of a data set, in a few lines."""
    files = f"{output_dir}/data.json, data.jsonl, failed.jsonl, README.md"
    return f"{outcome(counted, generated, 'records')}\n{files}"


def outcome(counted: Counted, generated: Generated, made: str) -> str:
    """What became of the items, in a few lines; `made` is what they are made into."""
    records, failed = len(counted.records), len(counted.failed)
    total = records + failed + counted.n_open
    waiting = "not answered yet" if generated.n_batches else "not asked yet"
    lines = [f"{total} items: {records} {made}, {failed} failed, {counted.n_open} {waiting}"]
    lines += counted.notes
    if counted.reasons:
        lines.append(f"failed: {_listed(counted.reasons)} (failed.jsonl)")
    if counted.findings:
        lines.append(f"found: {_listed(counted.findings)}")
    if generated.retries:
        lines.append(f"tried again: {_listed(generated.retries)}")
    if generated.limits:
        lines.append(f"limits of the endpoint: {generated.limits}")
    if generated.spent_usd is not None:
        lost = f", at most ${generated.lost_usd:.2f} more on answers that never came whole"
        lines.append(
            f"spent ${generated.spent_usd:.2f}{lost if generated.lost_usd >= 0.005 else ''}"
        )
    return "\n".join(lines)


def raise_trouble(generated: Generated, counted: Counted, run: AskingConfig) -> None:
    """End the program as what stopped the run asks for."""
    if generated.trouble == OUT_OF_BUDGET:
        raise InputError(
            f"run.budget_usd={run.budget_usd:g} does not last for the {counted.n_open} items that "
            "are left: raise it, and the same line goes on"
        )
    if generated.trouble is not None:
        raise InputError(generated.trouble)
    if generated.is_interrupted and generated.n_batches:
        raise Preempted(
            f"batches under way: {generated.n_batches}. They go on without this program; the same "
            "line takes in their answers, and `llama-gpt4 data batch-cancel "
            f"run.output_dir={run.output_dir}` ends them"
        )
    if generated.is_interrupted:
        raise Preempted(f"{counted.n_open} items are not asked yet; the same line goes on")


def _sum(tokens: Iterable[int | None]) -> int | None:
    """None where the endpoint did not count all of them."""
    known = list(tokens)
    return None if None in known else sum(n for n in known if n is not None)


def _listed(counts: Counter[str]) -> str:
    shown = [f"{number} {what}" for what, number in counts.most_common(5)]
    rest = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
